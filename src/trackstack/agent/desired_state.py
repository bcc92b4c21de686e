"""What a machine is to be, read from the control store and waited on, while that is away too."""

import logging
import time
from datetime import UTC, datetime
from typing import TypeVar, cast

from trackstack.agent import folders
from trackstack.agent.last_seen import LastSeen
from trackstack.agent.machine import Machine
from trackstack.agent.round import Round
from trackstack.control.base import AwayError, ControlStore
from trackstack.desired import Agent, Cleanup, DesiredDocument, LogsWanted, Models, Release, Users
from trackstack.errors import TrackstackError

_AWAY_SECONDS = 10.0

_log = logging.getLogger("trackstack.agent")

W = TypeVar("W", bound=DesiredDocument)


class DesiredState:
    """The desired documents, as far as the store lets them be read: without it, as they were last.

    Attributes:
        tags: of the documents as read last, to wait on.
    """

    def __init__(self, store: ControlStore) -> None:
        self.tags: dict[str, str | None] = {}
        self._store = store
        self._read: dict[str, DesiredDocument | TrackstackError | None] = {}
        self._audited: set[str] = set()
        self._published: dict[str, tuple[bytes, datetime]] = {}
        self._seen = LastSeen()
        self._stale = True

    def read(self, machine: Machine) -> Round:
        """The next round's documents; users' time runs out also while the store is away."""
        if self._stale:
            self._stale = not self._read_all()
        return Round(
            machine,
            self._store,
            datetime.now(UTC),
            users=self._as(Users),
            release=self._as(Release),
            cleanup=self._as(Cleanup),
            agent=self._as(Agent),
            logs=self._as(LogsWanted),
            models=self._as(Models),
            audited=self._audited,
            published=self._published,
            seen=self._seen,
        )

    def wait(self, seconds: float) -> None:
        """Wait for something else to be desired, at most so long."""
        if self._stale:
            # A wait for changes would not end for what could not be read.
            time.sleep(min(seconds, _AWAY_SECONDS))
            return
        started = time.monotonic()
        try:
            self._stale = self._store.wait_for_change(self.tags, seconds)
        except (TrackstackError, OSError) as error:
            self._stale = True
            _not_read(error)
            # Whoever expires meanwhile is shut out on time.
            time.sleep(max(0.0, min(seconds, _AWAY_SECONDS) - (time.monotonic() - started)))

    def _read_all(self) -> bool:
        for kind in (Users, Release, Cleanup, Agent, LogsWanted, Models):
            try:
                stored = self._store.get(kind.KEY)
            except (TrackstackError, OSError) as error:
                _not_read(error)
                return False
            self.tags[kind.KEY] = stored.tag if stored else None
            self._read[kind.KEY] = _document(kind, stored.data) if stored else None
        folders.BUCKET_AWAY.unlink(missing_ok=True)
        return True

    def _as(self, kind: type[W]) -> W | TrackstackError | None:
        return cast("W | TrackstackError | None", self._read.get(kind.KEY))


def _not_read(error: Exception) -> None:
    """Tell it; of a bucket that does not answer nginx too, so that nobody waits for artifacts."""
    _log.error("the control store is away: %s", error)
    if isinstance(error, AwayError) and folders.RUN.is_dir():
        folders.BUCKET_AWAY.touch()


def _document(kind: type[W], data: bytes) -> W | TrackstackError:
    try:
        return kind.from_bytes(data)
    except TrackstackError as error:
        return error
