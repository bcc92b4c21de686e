"""What EC2 offers: machine types, images, zones. Looked up once; the record keeps the answer."""

from typing import Any

from botocore.exceptions import ClientError

from trackstack import names
from trackstack.control.s3_failures import code
from trackstack.desired import Part
from trackstack.errors import TrackstackError, UsageError

_IMAGE = "/aws/service/debian/release/13/latest/{}"
"""Debian's own parameters: https://wiki.debian.org/Cloud/AmazonEC2Image"""

_DEBIAN = {"x86_64": "amd64", "arm64": "arm64"}


class MachineKind(Part):
    """One machine type.

    Attributes:
        memory: bytes.
        architecture: 'x86_64' or 'arm64'.
    """

    name: str
    cores: int
    memory: int
    architecture: str


def machine_kind(ec2: Any, name: str, region: str) -> MachineKind:
    """A machine type of a region.

    Raises:
        UsageError: there is none of that name, or Debian has no image for it.
    """
    try:
        found = ec2.describe_instance_types(InstanceTypes=[name])["InstanceTypes"]
    except ClientError as error:
        if code(error) != "InvalidInstanceType":
            raise
        found = []
    if not found:
        near = names.nearest(name, ("t3.small", "t3.medium", "t3.large", "t4g.small", "m7g.large"))
        raise UsageError(
            f"{region} has no machine type {name!r}.",
            f"Did you mean {near!r}?" if near else "Choose one such as t3.small or t4g.small.",
        )
    about = found[0]
    fitting = [a for a in about["ProcessorInfo"]["SupportedArchitectures"] if a in _DEBIAN]
    if not fitting:
        raise UsageError(
            f"There is no Debian 13 for the machine type {name!r}.",
            "Choose one such as t3.small or t4g.small.",
        )
    return MachineKind(
        name=name,
        cores=about["VCpuInfo"]["DefaultVCpus"],
        memory=about["MemoryInfo"]["SizeInMiB"] << 20,
        architecture=fitting[-1],
    )


def image(ssm: Any, architecture: str) -> str:
    """The newest image of Debian 13, by the vendor's own parameter."""
    name = _IMAGE.format(_DEBIAN[architecture])
    try:
        return str(ssm.get_parameter(Name=name)["Parameter"]["Value"])
    except ClientError as error:
        if code(error) != "ParameterNotFound":
            raise
        raise TrackstackError(
            f"Debian's image parameter {name} is not in this region.",
            "Name an image of Debian 13 in the spec: machine.image.",
        ) from error


def architecture(ec2: Any, image_id: str) -> str | None:
    """What kind of machine an image is for; None when it is no longer there to ask."""
    try:
        found = ec2.describe_images(ImageIds=[image_id])["Images"]
    except ClientError as error:
        if not code(error).startswith("InvalidAMIID"):
            raise
        found = []
    return str(found[0]["Architecture"]) if found else None


def zones(ec2: Any, machine_type: str, region: str) -> list[str]:
    """The first two zones that have the machine type; a database wants two."""
    answer = ec2.describe_instance_type_offerings(
        LocationType="availability-zone",
        Filters=[{"Name": "instance-type", "Values": [machine_type]}],
    )
    found = sorted(each["Location"] for each in answer["InstanceTypeOfferings"])
    if not found:
        raise UsageError(
            f"No zone of {region} has the machine type {machine_type!r}.",
            "Choose another with `--machine`.",
        )
    return found[:2]
