"""A control store in a folder, for machines that share a file system with the laptop."""

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from trackstack.control.base import ConflictError, Stored
from trackstack.control.watching import watching
from trackstack.durable import give, make_folder, write_durably


class DirectoryStore:
    """Keys are paths below a folder; a tag is the hash of the value."""

    heartbeat_seconds = 30.0
    who: str | None = None

    def __init__(self, folder: Path, owner: int | None = None) -> None:
        """Keep values in a folder.

        Args:
            folder: is made when something is written.
            owner: the user, by number, who reads and writes it too; root may give files away.
        """
        self._folder = folder
        self._owner = owner

    def get(self, key: str) -> Stored | None:
        """The value under a key, or None."""
        try:
            data = (self._folder / key).read_bytes()
        except FileNotFoundError:
            return None
        return Stored(data, hashlib.sha256(data).hexdigest())

    def put(self, key: str, data: bytes, expect: str | None) -> str:
        """Write a value when the key's tag is the expected one; see ControlStore."""
        with self._locked():
            before = self.get(key)
            if (before.tag if before else None) != expect:
                raise ConflictError(key)
            write_durably(self._folder / key, data, owner=self._owner)
        return hashlib.sha256(data).hexdigest()

    def wait_for_change(self, seen: Mapping[str, str | None], timeout: float) -> bool:
        """Wait for another tag under one of the keys; see ControlStore."""
        until = time.monotonic() + timeout
        places = {(self._folder / key).parent for key in seen}
        while True:
            for place in places:
                make_folder(place, owner=self._owner)
            # A watch before each look: what changes after the look ends the sleep.
            with watching(places) as sleep:
                if self._differs(seen):
                    return True
                left = until - time.monotonic()
                if left <= 0:
                    return False
                sleep(left)

    def list(self, prefix: str) -> list[str]:
        """The keys that begin so; see ControlStore."""
        paths = (path.relative_to(self._folder) for path in self._folder.rglob("*"))
        keys = (path.as_posix() for path in paths if (self._folder / path).is_file())
        return sorted(key for key in keys if key.startswith(prefix))

    def modified(self, key: str) -> tuple[datetime, datetime] | None:
        """By this computer's clock; see ControlStore."""
        try:
            written = (self._folder / key).stat().st_mtime
        except FileNotFoundError:
            return None
        return datetime.fromtimestamp(written, UTC), datetime.now(UTC)

    def _differs(self, seen: Mapping[str, str | None]) -> bool:
        for key, tag in seen.items():
            stored = self.get(key)
            if (stored.tag if stored else None) != tag:
                return True
        return False

    @contextmanager
    def _locked(self) -> Iterator[None]:
        make_folder(self._folder, owner=self._owner)
        # The kernel lets go of the lock when its holder dies, so no lock is ever left behind.
        handle = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            give(handle, self._owner)
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)
