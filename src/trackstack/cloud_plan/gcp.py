"""What will exist for one environment on Google Cloud."""

import ipaddress
import re
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from trackstack import names
from trackstack.cloud_plan.common import KIT, Days, Part, TimeOfDay

KIT_LABEL = "managed-by"
ENVIRONMENT_LABEL = "trackstack-environment"
NAME_LABEL = "name"

_LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_LONGEST_ACCOUNT = 30
"""https://cloud.google.com/iam/docs/service-accounts-create"""


class GcpNetwork(Part):
    """A network that is there already; the kit makes only firewall rules in it.

    Attributes:
        network: its full name, 'projects/…/global/networks/…'.
        subnet: 'projects/…/regions/…/subnetworks/…'; a way to the internet, or Private Google
            Access and a mirror of the packages, is given.
        peered: whether Google's services are connected to it already, as a database needs.
    """

    network: Annotated[str, StringConstraints(pattern=r"^projects/[^/]+/global/networks/[^/]+$")]
    subnet: Annotated[
        str, StringConstraints(pattern=r"^projects/[^/]+/regions/[^/]+/subnetworks/[^/]+$")
    ]
    peered: bool = False

    @property
    def project(self) -> str:
        """Whose it is: with a shared VPC that of its host, where its firewall rules are too."""
        return self.network.split("/")[1]


class GcpGiven(Part):
    """What the kit takes in place of making it; it never changes or removes any of it.

    Attributes:
        service_account: the machine's, by its address; it must bring its permissions along.
        key: the KMS key for disks, buckets and database, 'projects/…/cryptoKeys/…'.
    """

    network: GcpNetwork | None = None
    artifact_bucket: str | None = None
    service_account: Annotated[str, StringConstraints(pattern=r"^[^@ ]+@[^@ ]+$")] | None = None
    key: Annotated[str, StringConstraints(pattern=r"^projects/.+/cryptoKeys/[^/]+$")] | None = None


class GcpDatabase(Part):
    """A Cloud SQL PostgreSQL that the kit makes, on a private address.

    Attributes:
        version: of PostgreSQL, the major one.
        tier: the machine's type, such as 'db-f1-micro' or 'db-custom-2-7680'.
        regional: whether a second one stands by in another zone.
        deletion_protection: Google refuses to delete it.
        stopped: it costs its disk only, and answers nobody.
        password_version: Google takes a new first password with a higher number only.
    """

    version: Annotated[str, StringConstraints(pattern=r"^[0-9]{2}$")] = "17"
    tier: str
    gigabytes: Annotated[int, Field(ge=10, le=16384)] = 10
    regional: bool = False
    deletion_protection: bool = True
    stopped: bool = False
    password_version: Annotated[int, Field(ge=1)] = 1


class Gcp(Part):
    """What will exist for one environment in one region of a Google Cloud project.

    Attributes:
        project_number: it never changes hands, and so is part of buckets' names.
        zone: of the machine and its disks.
        cidr: the addresses of the subnet that is made.
        image: the machine image, recorded, so that a newer one changes nothing.
        root_gigabytes: the disk that a new machine brings along.
        data_gigabytes: the disk that stays when the machine is replaced.
        allow: networks that may connect, IPv4 and IPv6.
        control_bucket: where desired and observed state lie.
        artifact_bucket: the bucket that is made, or the given one.
        old_versions_days: how long an overwritten or deleted object can be had back.
        snapshot_days: how long a daily snapshot of the data disk is kept.
        user_data: the script that the machine runs at each boot, byte for byte.
        protect: the engine refuses to remove what holds data.
        tags: the user's own labels.
    """

    cloud: Literal["gcp"] = "gcp"
    environment: Annotated[str, StringConstraints(max_length=31)]
    project: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{4,28}[a-z0-9]$")]
    project_number: Annotated[str, StringConstraints(pattern=r"^[0-9]+$")]
    region: Annotated[str, StringConstraints(pattern=r"^[a-z]+-[a-z]+[0-9]+$")]
    zone: str
    cidr: str = "10.78.0.0/24"
    image: str
    machine_type: str
    root_gigabytes: Annotated[int, Field(ge=10, le=16384)] = 16
    data_gigabytes: Annotated[int, Field(ge=10, le=16384)] = 20
    allow: Annotated[tuple[str, ...], Field(min_length=1)]
    database: GcpDatabase | None = None
    control_bucket: str
    artifact_bucket: str
    old_versions_days: Days = 30
    snapshot_days: Days = 7
    snapshot_time: TimeOfDay = "03:00"
    given: GcpGiven = GcpGiven()
    user_data: str
    protect: bool = True
    tags: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not re.fullmatch(re.escape(self.region) + "-[a-z]", self.zone):
            raise ValueError(f"zone {self.zone} is not in region {self.region}")
        for addresses in (*self.allow, self.cidr):
            ipaddress.ip_network(addresses)
        if not self.snapshot_time.endswith(":00"):
            raise ValueError(
                f"Google Cloud makes snapshots on the hour, not at {self.snapshot_time}"
            )
        if re.search("g[o0][o0]g[l1]e", self.control_bucket):
            raise ValueError("Google Cloud lets no bucket's name have 'google' in it")
        given = self.given.artifact_bucket
        if given is not None and given != self.artifact_bucket:
            raise ValueError("artifact_bucket is another than the given one")
        network = self.given.network
        if self.database and network and not network.peered:
            raise ValueError("a database in a given network needs Google's services peered with it")
        for key, value in self.tags.items():
            if key in {KIT_LABEL, ENVIRONMENT_LABEL, NAME_LABEL}:
                raise ValueError(f"the label {key} is the kit's own")
            if not (_LABEL.fullmatch(key) and _VALUE.fullmatch(value)):
                raise ValueError(
                    f"{key}={value} is no label of Google Cloud: small letters, digits, '_' and '-'"
                )
        return self

    def networks(self, version: Literal[4, 6]) -> list[str]:
        """The allowed networks of one kind, in a stable order."""
        read = {ipaddress.ip_network(network) for network in self.allow}
        return [str(n) for n in sorted(read, key=str) if n.version == version]

    def name(self, part: str, longest: int = 63) -> str:
        """What a part is called in the project, where names count for all regions."""
        return names.fitted(f"{KIT}-{self.environment}-{self.region}-{part}", longest)

    @property
    def account_id(self) -> str:
        """The first part of the machine's service account."""
        return names.fitted(f"{KIT}-{self.environment}-{self.region}", _LONGEST_ACCOUNT)

    def all_labels(self, part: str) -> dict[str, str]:
        """A part's labels: the user's, the kit's, the environment's, and its name."""
        return {
            **self.tags,
            KIT_LABEL: KIT,
            ENVIRONMENT_LABEL: self.environment,
            NAME_LABEL: self.name(part),
        }

    def for_removal(self, _at: datetime, purge: bool = False) -> "Gcp":
        """The plan to make true before the engine's destroy.

        A database is kept as it is, stopped, since Google's backups end with their database; with
        `purge` its protection goes, and nothing is protected any more.
        """
        database = self.database and self.database.model_copy(
            update={"deletion_protection": not purge, "stopped": not purge}
        )
        return self.model_copy(update={"database": database, "protect": not purge})
