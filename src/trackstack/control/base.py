"""What every control store can do, and the one way to change a document in it."""

import getpass
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from trackstack.desired import Change, DesiredDocument, Document, audit_entry, audit_key
from trackstack.errors import BusyError, TrackstackError

_ATTEMPTS = 50

D = TypeVar("D", bound=Document)
W = TypeVar("W", bound=DesiredDocument)


@dataclass(frozen=True)
class Stored:
    """A value and the tag of this very version of it."""

    data: bytes
    tag: str


class ConflictError(Exception):
    """The value is no longer the one the writer had seen."""


class NoBucketError(TrackstackError):
    """The bucket itself is not there."""

    @classmethod
    def of(cls, bucket: str) -> "NoBucketError":
        """The error for a bucket's name."""
        return cls(
            f"There is no bucket {bucket}.",
            "`trackstack deploy` makes it, and again if it was removed by hand.",
        )


class AwayError(TrackstackError):
    """Nobody answers where the store should be."""


class ControlStore(Protocol):
    """Bytes under keys, with compare-and-swap writes.

    Attributes:
        heartbeat_seconds: how often an idle machine reports here, where a report may cost money.
        who: as whom a person comes in, for audit entries; None for this computer's account.
    """

    heartbeat_seconds: float
    who: str | None

    def get(self, key: str) -> Stored | None:
        """The value under a key, or None."""

    def put(self, key: str, data: bytes, expect: str | None) -> str:
        """Write a value, durably and as a whole, and return its tag.

        Args:
            key: path-like, such as 'desired/users.json'.
            data: the new value.
            expect: the tag the key must have now; None when there must be no value.

        Raises:
            ConflictError: the key holds something else.
        """

    def wait_for_change(self, seen: Mapping[str, str | None], timeout: float) -> bool:
        """Wait until a key's tag differs from the one seen, at most `timeout` seconds.

        Returns:
            Whether one differs.
        """

    def list(self, prefix: str) -> list[str]:
        """The keys that begin so, in order."""

    def modified(self, key: str) -> tuple[datetime, datetime] | None:
        """When a value was written, and what time it is now, both by the store's own clock.

        None where there is no value.
        """


def read(store: ControlStore, kind: type[D], key: str | None = None) -> tuple[D | None, str | None]:
    """A document and its tag, or (None, None).

    Raises:
        TrackstackError: the document is damaged or of a newer format.
    """
    stored = store.get(key or kind.KEY)
    return (None, None) if stored is None else (kind.from_bytes(stored.data), stored.tag)


def change(
    store: ControlStore, kind: type[W], what: str, apply: Callable[[W | None], dict[str, object]]
) -> W:
    """Change a desired document: read, apply, write, again when someone else was faster.

    Args:
        store: where.
        kind: the document's type.
        what: the change in a few words, for the audit entry.
        apply: from the present document to the fields of the next one; called again on the
            newer document after a lost race; whatever it raises ends the change.

    Returns:
        The document as written.

    Raises:
        BusyError: every attempt lost the race.
    """
    for _ in range(_ATTEMPTS):
        before, tag = read(store, kind)
        if before is not None:
            # Its writer may have been killed, and the agent may see only the newer one.
            audit(store, before)
        after = kind.model_validate(
            {
                **apply(before),
                "generation": 1 if before is None else before.generation + 1,
                "change": change_by_me(what, store.who),
            }
        )
        try:
            store.put(kind.KEY, after.to_bytes(), expect=tag)
        except ConflictError:
            continue
        audit(store, after)
        return after
    raise BusyError(
        f"{kind.KEY} kept changing under this command.", "Wait for the others and run it again."
    )


def audit(store: ControlStore, document: DesiredDocument) -> None:
    """Leave the audit entry of a write, unless it is there.

    Writer and agent both call this, so that a writer killed after its write leaves one too.
    """
    try:
        # Without a look before: a machine may write there, and not read.
        store.put(audit_key(document), audit_entry(document), expect=None)
    except ConflictError:
        return  # the other one was faster, with the same bytes


def change_by_me(what: str, who: str | None = None) -> Change:
    """A change made on this computer, now.

    Args:
        what: in a few words.
        who: by whom; this computer's account when None.
    """
    try:
        who = who or getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number without a name
        who = str(os.getuid())
    return Change(at=datetime.now(UTC), who=who, where=platform.node(), what=what)
