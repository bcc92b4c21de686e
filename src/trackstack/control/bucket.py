"""What control stores in buckets share: a bell to wait for, and the wait itself.

Each look costs a request, so whoever waits for desired documents looks at one small object only,
the bell, which every writer of a desired document rings after its write. A ring is lost when its
writer is killed in between, or the bucket is away then; now and then everything is looked at.
A ring without a write asks for a look and a report.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from secrets import token_bytes

from trackstack.control.base import ConflictError, Stored
from trackstack.errors import TrackstackError

BELL = "desired/bell"
DESIRED = "desired/"

_BELL_SECONDS = 5.0
"""17,280 looks a day."""
_EXPECTING_SECONDS = 60.0
"""For so long after its start and after a change a reader expects another: somebody is at work."""
_LOST_RING_SECONDS = 120.0
"""How long a change may go unnoticed whose ring was lost."""
_SECONDS = 1.0
"""Between looks for what is expected, and at anything but desired documents."""


class UnchangedError(Exception):
    """The value's tag is the one that its reader has seen."""


class UnsureError(ConflictError):
    """Refused at the second try: the first may have been taken, and its answer lost."""


class BucketStore(ABC):
    """A control store in a bucket; see ControlStore."""

    heartbeat_seconds = 60.0
    who: str | None = None

    _bell: str | None = None
    _seen: Mapping[str, str | None] | None = None
    _looked: float = 0.0
    _expecting_until: float | None = None
    sleep: Callable[[float], None] = staticmethod(time.sleep)
    clock: Callable[[], float] = staticmethod(time.monotonic)

    def put(self, key: str, data: bytes, expect: str | None) -> str:
        """Write a value when the key's tag is the expected one, and ring; see ControlStore."""
        try:
            tag = self._put(key, data, expect)
        except UnsureError:
            stored = self.get(key)
            if stored is None or stored.data != data:
                raise
            tag = stored.tag
        if key.startswith(DESIRED):
            # The value is written: whoever is told that it is not would write it twice.
            with suppress(TrackstackError):
                self.ring()
        return tag

    def ring(self) -> None:
        """Have whoever waits for desired documents look at them within seconds, changed or not."""
        self._put_anyway(BELL, token_bytes(8))

    def wait_for_change(self, seen: Mapping[str, str | None], timeout: float) -> bool:
        """Wait for another tag under one of the keys; see ControlStore."""
        until = self.clock() + timeout
        desired = all(key.startswith(DESIRED) for key in seen)
        if self._expecting_until is None:
            self._expecting_until = self.clock() + _EXPECTING_SECONDS
        while True:
            if self._differs_after_a_ring(seen) if desired else self._differs(seen):
                self._expecting_until = self.clock() + _EXPECTING_SECONDS
                return True
            now = self.clock()
            if now >= until:
                return False
            idle = desired and now >= self._expecting_until
            self.sleep(min(_BELL_SECONDS if idle else _SECONDS, until - now))

    def _differs_after_a_ring(self, seen: Mapping[str, str | None]) -> bool:
        now = self.clock()
        settled = self._seen == seen and now - self._looked <= _LOST_RING_SECONDS
        if settled and not self._changed(BELL, self._bell):
            return False
        # The bell first: whoever rings during the look is heard by the next.
        bell = self.get(BELL)
        if self._differs(seen):
            return True
        # Only now: a look that fails, or that its caller does not act on, is made again.
        before, self._bell = self._bell, bell.tag if bell else None
        rung = self._seen == seen and self._bell != before
        self._seen, self._looked = dict(seen), now
        return rung  # for no change: somebody wants it looked at

    def get(self, key: str) -> Stored | None:
        """The value under a key, or None; see ControlStore."""
        return self.get_unless(key, None)

    @abstractmethod
    def get_unless(self, key: str, seen: str | None) -> Stored | None:
        """The value under a key, or None.

        Raises:
            UnchangedError: its tag is the one seen.
        """

    @abstractmethod
    def modified(self, key: str) -> tuple[datetime, datetime] | None:
        """When a value was written, and what time it is now, both by the store's clock."""

    @abstractmethod
    def list(self, prefix: str) -> list[str]:
        """The keys that begin so, in order."""

    @abstractmethod
    def _put(self, key: str, data: bytes, expect: str | None) -> str: ...

    @abstractmethod
    def _put_anyway(self, key: str, data: bytes) -> None: ...

    def _changed(self, key: str, seen: str | None) -> bool:
        # Not by a look at the object's head alone: a refusal of that says nothing of its cause.
        try:
            stored = self.get_unless(key, seen)
        except UnchangedError:
            return False
        return (stored.tag if stored else None) != seen

    def _differs(self, seen: Mapping[str, str | None]) -> bool:
        return any(self._changed(key, tag) for key, tag in seen.items())
