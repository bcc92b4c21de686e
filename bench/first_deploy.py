"""What the kit adds to a first deploy, beyond what the cloud itself takes to make everything.

The double takes stated seconds for each kind of thing; what no kit can do without is the slowest
chain of things of which each needs the one before.
"""

import json
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from bench.figures import Sample
from engine.world.aws import AwsWorld, aws_world

SECONDS = {
    "ec2.Vpc": 3.0,
    "ec2.Subnet": 11.0,
    "ec2.InternetGateway": 1.0,
    "ec2.SecurityGroup": 3.0,
    "ec2.VpcEndpoint": 6.0,
    "ec2.NetworkInterface": 1.0,
    "ec2.Eip": 1.0,
    "ec2.Instance": 15.0,
    "ec2.VolumeAttachment": 21.0,
    "ebs.Volume": 11.0,
    "iam.Role": 1.0,
    "iam.InstanceProfile": 7.0,
    "s3.Bucket": 3.0,
    "rds.Instance": 300.0,
}
"""How long making one takes: an assumption of this size, after what deploys show. Others: none."""


def first_deploys(folder: Path) -> Iterator[Sample]:
    """From the command until it has verified, beside the slowest chain; once for each database."""
    for database in ("sqlite", "postgres"):
        with aws_world(folder / database / "aws") as world:
            world.seconds.update({("create", kind): took for kind, took in SECONDS.items()})
            laptop = world.laptop(folder / database / "home")
            allow = f"{world.network.laptop}/32"
            started = time.monotonic()
            laptop.run(
                *("deploy", "aws", "-e", "team", "--allow", allow, "--database", database, "--yes"),
                timeout=900,
            )
            took = time.monotonic() - started
            yield Sample(f"first-deploy-{database}", took, slowest_chain(_made(world)))


def slowest_chain(resources: Mapping[str, Mapping[str, Any]]) -> float:
    """Seconds of the slowest chain of things that need each other.

    Args:
        resources: of the engine's state, by URN.
    """

    @cache
    def until_made(urn: str) -> float:
        resource = resources[urn]
        needed = [*resource.get("dependencies", []), resource.get("parent", "")]
        before = [until_made(each) for each in needed if each in resources]
        return max(before, default=0.0) + SECONDS.get(kind(resource["type"]), 0.0)

    return max(until_made(urn) for urn in resources)


def kind(type_: str) -> str:
    """The double's name of a type: 'ec2.Vpc' for 'aws:ec2/vpc:Vpc'."""
    _, _, rest = type_.partition(":")
    module, _, name = rest.partition("/")
    return f"{module}.{name.partition(':')[2]}"


def _made(world: AwsWorld) -> dict[str, Mapping[str, Any]]:
    bucket = f"trackstack-state-{world.cloud.account}-{world.cloud.region}"
    key = ".pulumi/stacks/trackstack/team.json"
    kept = world.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    return {each["urn"]: each for each in json.loads(kept)["checkpoint"]["latest"]["resources"]}
