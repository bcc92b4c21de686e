"""What can be asked of a server in a cloud."""

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field

from trackstack import cloud_plan, names
from trackstack.spec.kinds import (
    Asked,
    Days,
    EnvironmentName,
    Gigabytes,
    Hostname,
    MlflowVersion,
    Networks,
    Package,
    Region,
    Strict,
    TimeOfDay,
    UserName,
    Workers,
)


class CloudServer(Strict):
    """The tracking server itself; it listens on port 443 and shows a certificate of its own."""

    hostnames: list[Hostname] = Field(default_factory=list)
    workers: Workers
    mlflow: MlflowVersion
    extra_packages: list[Package] = Field(default_factory=list)


class Machine(Strict):
    """The machine it runs on.

    Attributes:
        image: of Debian 13, by its id; looked up at the first deploy.
        root_gigabytes: the disk that comes and goes with the machine.
        data_gigabytes: the disk that stays when the machine is replaced.
    """

    type: str
    image: str
    root_gigabytes: Gigabytes
    data_gigabytes: Gigabytes


class CloudDatabase(Strict):
    """Where runs are kept: SQLite on the data disk, or a PostgreSQL that the cloud looks after.

    Attributes:
        size: the cloud's name for the machine of a PostgreSQL.
        high_availability: whether a second one stands by in another zone.
    """

    kind: Literal["sqlite", "postgres"]
    version: Annotated[str, Field(pattern=r"^[0-9]{2}$")]
    size: str
    gigabytes: Gigabytes
    high_availability: bool


class Backups(Strict):
    """What can be had back.

    Attributes:
        old_versions_days: how long an overwritten or deleted object of a bucket is kept.
        snapshot_days: how long a daily snapshot of the data disk is kept.
        snapshot_time: when it is made, in UTC.
    """

    old_versions_days: Days
    snapshot_days: Days
    snapshot_time: TimeOfDay


class CloudSpec(Strict):
    """What is the same on every cloud."""

    environment: EnvironmentName
    region: Region
    allow: Networks
    machine: Machine
    server: CloudServer
    database: CloudDatabase
    backups: Backups
    tags: dict[str, str] = Field(default_factory=dict)
    users: Annotated[list[UserName], Field(min_length=1)]
    protected: bool


class AwsSpec(CloudSpec):
    """One environment on AWS, with every value decided."""

    target: Literal["aws"]
    account: Annotated[str, Field(pattern=r"^[0-9]{12}$")]
    zones: Annotated[list[str], Field(min_length=1)]
    cidr: str
    given: cloud_plan.Given = cloud_plan.Given()


class GcpSpec(CloudSpec):
    """One environment on Google Cloud, with every value decided."""

    target: Literal["gcp"]
    project: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{4,28}[a-z0-9]$")]
    project_number: Annotated[str, Field(pattern=r"^[0-9]+$")]
    zone: Annotated[str, Field(pattern=r"^[a-z]+-[a-z]+[0-9]+-[a-z]$")]
    given: cloud_plan.GcpGiven = cloud_plan.GcpGiven()


def _common(environment: str, account: str, mlflow: str) -> Asked:
    return {
        "environment": environment,
        "region": None,
        "allow": None,
        "server": {
            "hostnames": [],
            "workers": None,
            "mlflow": mlflow,
            "extra_packages": [],
        },
        "backups": {"old_versions_days": 30, "snapshot_days": 7, "snapshot_time": "03:00"},
        "tags": {},
        "users": [names.user_from_account(account)],
        "protected": False,
    }


def _aws(environment: str, account: str, mlflow: str) -> Asked:
    return {
        "target": "aws",
        **_common(environment, account, mlflow),
        "account": None,
        "zones": None,
        "cidr": "10.78.0.0/24",
        "machine": {
            "type": "t3.small",
            "image": None,
            "root_gigabytes": 16,
            "data_gigabytes": 20,
        },
        "database": {
            "kind": "sqlite",
            "version": "17",
            "size": "db.t4g.micro",
            "gigabytes": 20,
            "high_availability": False,
        },
        "given": cloud_plan.Given().model_dump(),
    }


def _gcp(environment: str, account: str, mlflow: str) -> Asked:
    return {
        "target": "gcp",
        **_common(environment, account, mlflow),
        "project": None,
        "project_number": None,
        "zone": None,
        "machine": {
            "type": "e2-small",
            "image": None,
            "root_gigabytes": 16,
            "data_gigabytes": 20,
        },
        "database": {
            "kind": "sqlite",
            "version": "17",
            "size": "db-f1-micro",
            "gigabytes": 10,
            "high_availability": False,
        },
        "given": cloud_plan.GcpGiven().model_dump(),
    }


DEFAULTS: dict[str, Callable[[str, str, str], Asked]] = {"aws": _aws, "gcp": _gcp}
"""By target: from environment, account on this computer and MLflow's version."""

EXAMPLES: dict[str, Asked] = {
    "aws": {
        "account": "123456789012",
        "region": "eu-central-1",
        "zones": ["eu-central-1a", "eu-central-1b"],
        "allow": ["198.51.100.0/24"],
        "machine": {"image": "ami-0123456789abcdef0"},
        "server": {"workers": 1},
    },
    "gcp": {
        "project": "team-project",
        "project_number": "123456789012",
        "region": "us-central1",
        "zone": "us-central1-a",
        "allow": ["198.51.100.0/24"],
        "machine": {"image": "projects/debian-cloud/global/images/debian-13-trixie-v20260901"},
        "server": {"workers": 1},
    },
}
"""Stand where the target has to look, while a file is checked by itself."""
