"""What will exist for one environment on AWS."""

import ipaddress
import re
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from trackstack import names
from trackstack.cloud_plan.common import KIT, Days, Gigabytes, Part, TimeOfDay

ENVIRONMENT_TAG = "trackstack:environment"
KIT_TAG = "managed-by"
NAME_TAG = "Name"

Arn = Annotated[str, StringConstraints(pattern=r"^arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:[^ ]+$")]


class GivenNetwork(Part):
    """A network that is there already; the kit makes only security groups in it.

    Attributes:
        subnet: a public one in the first of the plan's zones: its route to the internet is given.
        cidr: the network's own addresses, where the database will be.
        database_subnets: in two zones at least, when a database is made.
    """

    vpc: Annotated[str, StringConstraints(pattern=r"^vpc-[0-9a-f]+$")]
    subnet: Annotated[str, StringConstraints(pattern=r"^subnet-[0-9a-f]+$")]
    cidr: str
    database_subnets: tuple[str, ...] = ()


class Database(Part):
    """A PostgreSQL that the kit makes.

    Attributes:
        version: of PostgreSQL, the major one: minor ones are installed in the weekly window.
        machine_class: such as 'db.t4g.micro'.
        deletion_protection: AWS refuses to delete it.
        final_snapshot: what the last snapshot before a removal is called, or None for none.
        from_snapshot: the snapshot it is made from, or None for an empty one.
    """

    version: Annotated[str, StringConstraints(pattern=r"^[0-9]{2}$")] = "17"
    machine_class: str
    gigabytes: Gigabytes = 20
    multi_az: bool = False
    deletion_protection: bool = True
    final_snapshot: str | None
    from_snapshot: str | None = None


class Given(Part):
    """What the kit takes in place of making it; it never changes or removes any of it.

    Attributes:
        machine_profile: the name of an instance profile, with the machine's role in it.
        snapshot_role: the role that makes the daily snapshots.
        permissions_boundary: what bounds each role that the kit makes.
        key: the KMS key for disks, buckets, database and its secret, in place of AWS's own keys.
    """

    network: GivenNetwork | None = None
    artifact_bucket: str | None = None
    machine_profile: str | None = None
    snapshot_role: Arn | None = None
    permissions_boundary: Arn | None = None
    key: Arn | None = None


class Aws(Part):
    """What will exist for one environment in one region of an AWS account.

    Attributes:
        zones: the machine's first; a database needs a second.
        cidr: the addresses of the network that is made: a /24 cut into four.
        image: the machine image's id, recorded, so that a newer one changes nothing.
        root_gigabytes: the disk that a new machine brings along.
        data_gigabytes: the disk that stays when the machine is replaced.
        allow: networks that may connect, IPv4 and IPv6.
        control_bucket: where desired and observed state lie.
        artifact_bucket: the bucket that is made, or the given one.
        old_versions_days: how long an overwritten or deleted object can be had back.
        snapshot_days: how long a daily snapshot of the data disk is kept.
        snapshot_time: when it is made, UTC.
        user_data: what the machine is started with, byte for byte.
        protect: the engine refuses to remove what holds data.
        tags: the user's own.
    """

    cloud: Literal["aws"] = "aws"
    environment: Annotated[str, StringConstraints(max_length=31)]
    account: Annotated[str, StringConstraints(pattern=r"^[0-9]{12}$")]
    region: Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$")]
    zones: Annotated[tuple[str, ...], Field(min_length=1)]
    cidr: str = "10.78.0.0/24"
    image: Annotated[str, StringConstraints(pattern=r"^ami-[0-9a-f]+$")]
    machine_type: str
    root_gigabytes: Gigabytes = 16
    data_gigabytes: Gigabytes = 20
    allow: Annotated[tuple[str, ...], Field(min_length=1)]
    database: Database | None = None
    control_bucket: str
    artifact_bucket: str
    old_versions_days: Annotated[int, Field(ge=1)] = 30
    snapshot_days: Days = 7
    snapshot_time: TimeOfDay = "03:00"
    given: Given = Given()
    user_data: str
    protect: bool = True
    tags: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for zone in self.zones:
            if not re.fullmatch(re.escape(self.region) + "[a-z]", zone):
                raise ValueError(f"zone {zone} is not in region {self.region}")
        for addresses in (*self.allow, self.cidr):
            ipaddress.ip_network(addresses)
        if self.database:
            network = self.given.network
            if network and len(network.database_subnets) < 2:
                raise ValueError("a database in a given network needs two given subnets")
            if not network and len(set(self.zones)) < 2:
                raise ValueError("a database needs zones to be in: two of them")
        given = self.given.artifact_bucket
        if given is not None and given != self.artifact_bucket:
            raise ValueError("artifact_bucket is another than the given one")
        reserved = [key for key in self.tags if key in {KIT_TAG, ENVIRONMENT_TAG, NAME_TAG}]
        if reserved:
            raise ValueError(f"the tag {reserved[0]} is the kit's own")
        return self

    @property
    def partition(self) -> str:
        """The first part of this region's ARNs after 'arn'."""
        if self.region.startswith("cn-"):
            return "aws-cn"
        return "aws-us-gov" if self.region.startswith("us-gov-") else "aws"

    @property
    def subnets(self) -> tuple[str, str, str]:
        """The addresses of the public subnet and of the two for a database."""
        public, first, second = list(ipaddress.ip_network(self.cidr).subnets(prefixlen_diff=2))[:3]
        return str(public), str(first), str(second)

    def networks(self, version: Literal[4, 6]) -> list[str]:
        """The allowed networks of one kind, as AWS writes them, in a stable order."""
        read = {ipaddress.ip_network(network) for network in self.allow}
        return [str(n) for n in sorted(read, key=str) if n.version == version]

    def name(self, part: str, longest: int = 63) -> str:
        """What a part is called in the region."""
        return names.fitted(f"{KIT}-{self.environment}-{part}", longest)

    def global_name(self, part: str, longest: int = 63) -> str:
        """What a part is called where names count for all regions of the account, as in IAM."""
        return names.fitted(f"{KIT}-{self.environment}-{self.region}-{part}", longest)

    def all_tags(self, part: str) -> dict[str, str]:
        """A part's tags: the user's, the kit's, the environment's, and its name."""
        return {
            **self.tags,
            KIT_TAG: KIT,
            ENVIRONMENT_TAG: self.environment,
            NAME_TAG: self.name(part, 255),
        }

    def for_removal(self, at: datetime, purge: bool = False) -> "Aws":
        """The plan to make true before the engine's destroy.

        Deletion protection goes, and the database's last snapshot gets a name that is not taken;
        with `purge` there is no such snapshot, and nothing is protected any more.
        """
        stamped = self.name(f"final-{at:%Y%m%d-%H%M%S}", 255)
        database = self.database and self.database.model_copy(
            update={"deletion_protection": False, "final_snapshot": None if purge else stamped}
        )
        return self.model_copy(update={"database": database, "protect": not purge})
