"""The contract of a cloud's account: what the kit asks of a cloud itself, not of the engine."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from pydantic import AwareDatetime, SecretStr

from trackstack.cloud_plan import Cloud
from trackstack.control.base import ControlStore
from trackstack.control.bucket import BucketStore
from trackstack.desired import Part
from trackstack.place import Place
from trackstack.plan import Plan
from trackstack.targets.base import Kept

Say = Callable[[str], None]
"""Told in a few words what goes on."""


class Unfinished(Part):
    """A resource that was being worked on when a run was killed.

    Attributes:
        what: 'creating', 'updating', 'deleting' and the like, as the engine calls it.
        inputs: as they were sent; secrets are marked and not readable.
    """

    urn: str
    resource: str
    type: str
    what: str
    inputs: Mapping[str, Any]


class Snapshot(Part):
    """What an environment that was removed left of its database.

    Attributes:
        name: the cloud's.
    """

    name: str
    made: AwareDatetime


class Account(Protocol):
    """One account and region, as the person's credentials let the kit into it.

    Attributes:
        place: with as whom.
    """

    place: Place

    def state(self) -> ControlStore:
        """The bucket that holds records and the engine's state."""

    def has_state(self) -> bool:
        """Whether that bucket is there."""

    def ensure_state(self) -> None:
        """Have it: encrypted, versioned, closed to the public."""

    def names(self) -> list[str]:
        """The environments that the account holds the record of."""

    def backend(self) -> str:
        """That bucket's address, as the engine wants it."""

    def control(self, environment: str) -> BucketStore:
        """An environment's control store."""

    def key(self, environment: str, make: bool) -> SecretStr | None:
        """What encrypts secrets in an environment's state; with `make`, made when there is none."""

    def forget(self, environment: str) -> None:
        """Remove an environment's key, record and state, for good."""

    def engine_variables(self) -> dict[str, str]:
        """What the engine and its provider need to come in as the same person; secret."""

    def program_secrets(self, plan: Cloud) -> dict[str, SecretStr]:
        """What the program needs and the plan does not hold."""

    def decided(self, content: dict[str, Any], recorded: Plan | None) -> dict[str, Any]:
        """A spec's content with what is None looked up; see Target."""

    def denied(self, plan: Cloud) -> list[str]:
        """What these credentials would need to make the plan true, and may not do."""

    def request(self, plan: Cloud) -> str:
        """What an administrator has to permit or make for a plan, as text to hand over."""

    def policy(self, whose: str, plan: Cloud) -> str:
        """The policy of a 'deployer', 'user-administrator' or 'viewer', as the cloud takes it."""

    def find(self, left: Unfinished) -> str | None:
        """The id of a resource that was being made when a run was killed, or None."""

    def room_problem(self, plan: Cloud) -> str | None:
        """What stands in the way of the plan in this account, as a sentence, or None."""

    def running(self, machine: str) -> bool:
        """Whether a machine is up, by its id."""

    def console(self, machine: str) -> str:
        """What a machine wrote to its serial console, as far as the cloud keeps it."""

    def stored_bytes(self, bucket: str) -> int:
        """The size of all that a bucket holds now."""

    def empty(self, bucket: str, say: Say) -> None:
        """Remove every version of everything in a bucket."""

    def snapshots(self, environment: str) -> list[Snapshot]:
        """What is left of databases of that name, the newest first."""

    def left(self, environment: str) -> Iterator[Kept]:
        """All in the account that carries the environment's tags, by the cloud's own word."""
