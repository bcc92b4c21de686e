"""One environment on Google Cloud."""

from collections.abc import Mapping

import pulumi

from stacks.gcp import database, identity, network, storage, vm
from stacks.gcp.place import Place
from trackstack.cloud_plan import Gcp

_NOT_YET = "known-when-it-is-made"


def declare(plan: Gcp, secrets: Mapping[str, str]) -> None:
    """Declare all of a plan and export what its target wants to know.

    Args:
        plan: what is to exist.
        secrets: 'database_password', when the plan has a database and is to be made true; a look
            ahead needs none.
    """
    place = Place.of(plan)
    net = network.declare(place)
    machine = identity.machine(place)
    buckets = storage.declare(place, machine)
    server = vm.declare(place, net, machine, buckets)
    pulumi.export("address", server.address)
    pulumi.export("instance", server.instance)
    pulumi.export("data_volume", server.volume)
    pulumi.export("control_bucket", buckets.control)
    pulumi.export("artifact_bucket", buckets.artifacts)
    if plan.database:
        made = database.declare(
            place, plan.database, net, secrets.get("database_password", _NOT_YET)
        )
        identity.may_read_secret(place, machine, made.secret)
        pulumi.export("database_host", made.host)
        pulumi.export("database_secret", made.secret)
