"""A bucket in memory, with a clock of its own."""

from collections import Counter
from datetime import UTC, datetime
from itertools import count

from trackstack.control.base import ConflictError, Stored
from trackstack.control.bucket import BucketStore, UnchangedError
from trackstack.errors import TrackstackError

DAY = 86_400.0


class MemoryBucket(BucketStore):
    """A bucket whose clock only its own sleeps move; it counts requests.

    Attributes:
        asked: how often, by verb and key.
        events: what happens in the world when the clock reaches a second.
        until: the second at which its user is stopped.
    """

    def __init__(self, until: float = DAY) -> None:
        self.values: dict[str, Stored] = {}
        self.asked: Counter[tuple[str, str]] = Counter()
        self.events: dict[float, object] = {}
        self.until = until
        self.away = False
        self.now = 0.0
        self.clock = lambda: self.now
        self.sleep = self._sleep
        self._tags = count(1)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds
        for at in [at for at in self.events if at <= self.now]:
            self.events.pop(at)()  # type: ignore[operator]
        if self.now >= self.until:
            raise SystemExit

    def _ask(self, verb: str, key: str) -> None:
        self.asked[verb, key] += 1
        if self.away:
            raise TrackstackError("The bucket does not answer.")

    def get_unless(self, key: str, seen: str | None) -> Stored | None:
        self._ask("GET", key)
        stored = self.values.get(key)
        if stored and stored.tag == seen:
            raise UnchangedError(key)
        return stored

    def _put(self, key: str, data: bytes, expect: str | None) -> str:
        self._ask("PUT", key)
        stored = self.values.get(key)
        if (stored.tag if stored else None) != expect:
            raise ConflictError(key)
        return self.change(key, data)

    def _put_anyway(self, key: str, data: bytes) -> None:
        self._ask("PUT", key)
        self.change(key, data)

    def change(self, key: str, data: bytes) -> str:
        """As somebody else who does not ring."""
        self.values[key] = Stored(data, str(next(self._tags)))
        return self.values[key].tag

    def list(self, prefix: str) -> list[str]:
        return sorted(key for key in self.values if key.startswith(prefix))

    def modified(self, key: str) -> tuple[datetime, datetime] | None:
        return (datetime.now(UTC), datetime.now(UTC)) if key in self.values else None
