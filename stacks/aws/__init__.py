"""One environment on AWS."""

from collections.abc import Mapping

import pulumi

from stacks.aws import database, identity, network, storage, vm
from stacks.aws.place import Place
from trackstack.cloud_plan import Aws


def declare(plan: Aws, _secrets: Mapping[str, str]) -> None:
    """Declare all of a plan and export what its target wants to know."""
    place = Place.of(plan)
    net = network.declare(place)
    buckets = storage.declare(place)
    machine = identity.machine(place, buckets)
    server = vm.declare(place, net, machine)
    pulumi.export("address", server.address)
    pulumi.export("instance", server.instance)
    pulumi.export("data_volume", server.volume)
    pulumi.export("control_bucket", buckets.control)
    pulumi.export("artifact_bucket", buckets.artifacts)
    if plan.database:
        made = database.declare(place, plan.database, net)
        identity.may_read_secret(place, machine, made.secret)
        pulumi.export("database_host", made.host)
        pulumi.export("database_secret", made.secret)
