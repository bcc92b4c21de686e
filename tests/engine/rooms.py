"""An engine room over a cloud in memory, and plans to make true in it."""

import fcntl
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from engine.cloud import Cloud
from engine.provider import kind_of
from engine.wire import plain
from kits import CACHE
from trackstack.cloud_plan import Aws, Database, Gcp, GcpDatabase
from trackstack.targets.engine import Find, Room, Unfinished

ACCOUNT = "123456789012"
REGION = "eu-central-1"
IMAGE = "ami-0123456789abcdef0"
NEWER_IMAGE = "ami-0fedcba9876543210"
VERSION = "3.250.0"
KEY = "planted-passphrase-4b1c"
USER_DATA = "#!/bin/sh\n# planted-user-data-9e7f\nexec /opt/trackstack/launcher\n"

PROJECT, GCP_REGION = "team-project", "us-central1"
_IMAGES = "https://www.googleapis.com/compute/v1/projects/debian-cloud/global/images"
GCP_IMAGE = f"{_IMAGES}/debian-13-trixie-v20261110"
NEWER_GCP_IMAGE = f"{_IMAGES}/debian-13-trixie-v20261124"
PASSWORD = "planted-first-password-5d2e"

GCP_DATABASE = GcpDatabase(tier="db-f1-micro")
DATABASE = Database(machine_class="db.t4g.micro", final_snapshot="trackstack-team-final-1")


def program() -> Path:
    """The engine; built once per version, which takes minutes."""
    folder = CACHE / f"engine-{VERSION}"
    if not (folder / "pulumi").exists() and not shutil.which("go"):
        pytest.skip("Go is missing, which the engine is built with (see make/engine.sh)")
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "engine.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        script = Path(__file__).parents[2] / "make" / "engine.sh"
        subprocess.run(["sh", script, folder], check=True)
    return folder / "pulumi"


def room(
    folder: Path, port: int, stack: str = "team", key: str = KEY, package: str = "aws"
) -> Room:
    """A room whose state is a folder, and whose provider answers at a port of loopback."""
    (folder / "state").mkdir(parents=True, exist_ok=True)
    return Room(
        stack=stack,
        state=f"file://{folder / 'state'}",
        home=folder / "home",
        key=SecretStr(key),
        program=program(),
        variables={
            "PULUMI_DEBUG_PROVIDERS": f"{package}:{port}",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        },
    )


def a_cloud() -> Cloud:
    """An account in which nothing is but the vendor's machine images."""
    cloud = Cloud(ACCOUNT, REGION)
    cloud.images = {IMAGE: "x86_64", NEWER_IMAGE: "x86_64"}
    return cloud


def a_plan(**changes: Any) -> Aws:
    """A plan without a database and without anything given, but for what is said."""
    return Aws.model_validate(
        {
            "environment": "team",
            "account": ACCOUNT,
            "region": REGION,
            "zones": (f"{REGION}a", f"{REGION}b"),
            "image": IMAGE,
            "machine_type": "t3.small",
            "allow": ("198.51.100.7/32",),
            "control_bucket": "trackstack-team-123456789012-eu-central-1-control",
            "artifact_bucket": "trackstack-team-123456789012-eu-central-1-artifacts",
            "user_data": USER_DATA,
            **changes,
        }
    )


def a_project() -> Cloud:
    """A project of Google Cloud in which nothing is but the vendor's machine images."""
    cloud = Cloud(PROJECT, GCP_REGION, "gcp")
    cloud.images = {GCP_IMAGE: "X86_64", NEWER_GCP_IMAGE: "X86_64"}
    return cloud


def a_gcp_plan(**changes: Any) -> Gcp:
    """A plan for Google Cloud without a database and without anything given, but what is said."""
    return Gcp.model_validate(
        {
            "environment": "team",
            "project": PROJECT,
            "project_number": "123456789012",
            "region": GCP_REGION,
            "zone": f"{GCP_REGION}-a",
            "image": GCP_IMAGE,
            "machine_type": "e2-small",
            "allow": ("198.51.100.7/32",),
            "control_bucket": "trackstack-team-123456789012-us-central1-control",
            "artifact_bucket": "trackstack-team-123456789012-us-central1-artifacts",
            "user_data": USER_DATA,
            **changes,
        }
    )


def find_in(cloud: Cloud) -> Find:
    """Looks up what was being made, as a target does by tags and by the names in the inputs."""

    def find(left: Unfinished) -> str | None:
        inputs = plain(dict(left.inputs))
        found = [
            thing.id
            for thing in cloud.of(kind_of(left.type))
            if thing.inputs.get("tags", inputs) == inputs.get("tags", thing.inputs)
        ]
        return found[0] if found else None

    return find


def state_of(here: Room) -> str:
    """All that the engine keeps, as one text."""
    return "\n".join(
        file.read_text(errors="replace")
        for file in sorted(here.home.parent.rglob("*"))
        if file.is_file()
    )
