"""What Compute Engine offers: machine types, images, zones. Looked up once, then recorded."""

from trackstack import names
from trackstack.desired import Part
from trackstack.errors import UsageError
from trackstack.targets.gcp_api import Api

_FAMILIES = {"X86_64": "debian-13", "ARM64": "debian-13-arm64"}
"""Debian's own: https://cloud.google.com/compute/docs/images/os-details#debian"""


class MachineKind(Part):
    """One machine type.

    Attributes:
        memory: bytes.
        architecture: 'X86_64' or 'ARM64'.
    """

    name: str
    cores: int
    memory: int
    architecture: str


def machine_kind(api: Api, project: str, zone: str, name: str) -> MachineKind:
    """A machine type of a zone.

    Raises:
        UsageError: there is none of that name.
    """
    found = api.found("compute", f"projects/{project}/zones/{zone}/machineTypes/{name}")
    if found is None:
        raise UsageError(f"{zone} has no machine type {name!r}.", _instead(name))
    return MachineKind(
        name=name,
        cores=found["guestCpus"],
        memory=found["memoryMb"] << 20,
        architecture=found.get("architecture", "X86_64"),
    )


def image(api: Api, architecture: str) -> str:
    """The newest image of Debian 13, by its family; the address of the image itself."""
    family = _FAMILIES[architecture]
    found = api.get("compute", f"projects/debian-cloud/global/images/family/{family}")
    return str(found["selfLink"])


def architecture(api: Api, image: str) -> str | None:
    """What kind of machine an image is for; None when it is no longer there to ask."""
    path = "projects/" + image.partition("/projects/")[2]
    found = api.found("compute", path)
    return str(found.get("architecture", "X86_64")) if found else None


def zone(api: Api, project: str, region: str, machine_type: str) -> str:
    """The first zone of a region that is up and has the machine type."""
    listed = api.pages("compute", f"projects/{project}/zones", "items")
    up = sorted(
        each["name"]
        for each in listed
        if each["region"].rpartition("/")[2] == region and each["status"] == "UP"
    )
    for name in up:
        if api.found("compute", f"projects/{project}/zones/{name}/machineTypes/{machine_type}"):
            return str(name)
    if not up:
        raise UsageError(f"There is no region {region!r}.", "Choose one such as us-central1.")
    raise UsageError(
        f"No zone of {region} has the machine type {machine_type!r}.",
        _instead(machine_type),
    )


def _instead(name: str) -> str:
    near = names.nearest(name, ("e2-small", "e2-medium", "n1-standard-1", "t2a-standard-1"))
    return f"Did you mean {near!r}?" if near else "Choose one such as e2-small with `--machine`."
