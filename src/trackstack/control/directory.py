"""A control store in a folder, for machines that share a file system with the laptop."""

import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from watchfiles._rust_notify import RustNotify

from trackstack.control.base import ConflictError, Stored

BEGUN = ".new-"
"""How the name of a file begins that is being written; one is left when its writer is killed."""


class DirectoryStore:
    """Keys are paths below a folder; a tag is the hash of the value.

    Watching starts with the first wait and lasts as long as the object, so that a change
    between two waits is not missed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._watcher: RustNotify | None = None

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
            write_durably(self._folder / key, data)
        return hashlib.sha256(data).hexdigest()

    def wait_for_change(self, seen: Mapping[str, str | None], timeout: float) -> bool:
        """Wait for another tag under one of the keys; see ControlStore."""
        if self._watcher is None:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._watcher = RustNotify([str(self._folder)], False, False, 300, True, True)
        until = time.monotonic() + timeout
        while not self._differs(seen):
            left = until - time.monotonic()
            if left <= 0:
                return False
            # Milliseconds: gather for 5 after a first change, look every 5.
            woken_by = self._watcher.watch(5, 5, max(1, int(left * 1000)), None)
            if woken_by == "signal":  # it swallows the exception that Control-C raised
                raise KeyboardInterrupt
        return True

    def _differs(self, seen: Mapping[str, str | None]) -> bool:
        for key, tag in seen.items():
            stored = self.get(key)
            if (stored.tag if stored else None) != tag:
                return True
        return False

    @contextmanager
    def _locked(self) -> Iterator[None]:
        make_folder(self._folder)
        # The kernel lets go of the lock when its holder dies, so no lock is ever left behind.
        handle = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def write_durably(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Put a whole file in place of another: a reader, or a power cut, sees the old or the new.

    The order is write, flush to the disk, rename, flush the folder.
    """
    make_folder(path.parent)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=BEGUN)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, for the owner only, each one durably."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    flush_folder(folder.parent)
