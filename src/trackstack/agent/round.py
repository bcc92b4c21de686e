"""One round of the agent: the desired documents as read, and where the round runs."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from trackstack.agent.last_seen import LastSeen
from trackstack.agent.machine import Machine, StepError
from trackstack.control.base import ControlStore
from trackstack.desired import Agent, Cleanup, Document, LogsWanted, Models, Release, Users
from trackstack.errors import TrackstackError

D = TypeVar("D", bound=Document)


@dataclass(frozen=True)
class Round:
    """What the steps of one round work on.

    Attributes:
        now: the time that expiries are held against.
        users: as read; the error when the document is damaged; None when there is none.
        release: likewise.
        cleanup: likewise.
        agent: likewise.
        logs: likewise.
        models: likewise.
        audited: keys of the audit entries that this process knows to be there; added to.
        published: what this process knows other keys to hold, and since when; added to.
        seen: when users were let in, as far as this process has read; added to.
    """

    machine: Machine
    store: ControlStore
    now: datetime
    users: Users | TrackstackError | None
    release: Release | TrackstackError | None
    cleanup: Cleanup | TrackstackError | None
    agent: Agent | TrackstackError | None = None
    logs: LogsWanted | TrackstackError | None = None
    models: Models | TrackstackError | None = None
    audited: set[str] = field(default_factory=set)
    published: dict[str, tuple[bytes, datetime]] = field(default_factory=dict)
    seen: LastSeen = field(default_factory=LastSeen)

    def wanted_users(self) -> Users | None:
        """The users document, or None when there is none yet."""
        return _sound(self.users)

    def wanted_release(self) -> Release | None:
        """The release document, or None when there is none yet."""
        return _sound(self.release)

    def wanted_cleanup(self) -> Cleanup | None:
        """The clean-up document, or None when there is none yet."""
        return _sound(self.cleanup)

    def wanted_models(self) -> Models | None:
        """The document on served models, or None when there is none yet."""
        return _sound(self.models)


def generation(document: Document | TrackstackError | None) -> int:
    """The generation of a document as read; 0 when it cannot be told."""
    return document.generation if isinstance(document, Document) else 0


def _sound(document: D | TrackstackError | None) -> D | None:
    if isinstance(document, TrackstackError):
        raise StepError(document.sentence)
    return document
