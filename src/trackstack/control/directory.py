"""A control store in a folder, for machines that share a file system with the laptop."""

import errno
import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from trackstack.control.base import ConflictError, Stored
from trackstack.control.watching import watching

BEGUN = ".new-"
"""How the name of a file begins that is being written; one is left when its writer is killed."""


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
            _give(handle, self._owner)
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def refuse_unwritable(path: Path) -> None:
    """Find out whether a file can be written durably, by writing one beside it.

    Raises:
        OSError: it cannot; so too when it is there and no plain file, since it would be replaced:
            /dev/null and a link would be gone afterwards.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise OSError(errno.EINVAL, "it is not a plain file", str(path))
    make_folder(path.parent)
    with tempfile.TemporaryFile(dir=path.parent) as trial:
        trial.write(bytes(4096))


def write_durably(path: Path, data: bytes, mode: int = 0o600, owner: int | None = None) -> None:
    """Put a whole file in place of another: a reader, or a power cut, sees the old or the new.

    The order is write, flush to the disk, rename, flush the folder. Whoever may read the file may
    enter the folders that are made for it; with `owner`, all of them are given to that user.
    """
    make_folder(path.parent, mode | (mode & 0o444) >> 2, owner)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=BEGUN)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            _give(file.fileno(), owner)
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a write that fails does not say of which file
        raise
    flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path, mode: int = 0o700, owner: int | None = None) -> None:
    """Make a folder, and those above it, each one durably."""
    if folder.is_dir():
        return
    make_folder(folder.parent, mode, owner)
    folder.mkdir(mode=mode, exist_ok=True)
    if owner is not None:
        os.chown(folder, owner, owner)
    flush_folder(folder.parent)


def _give(handle: int, owner: int | None) -> None:
    if owner is not None and os.fstat(handle).st_uid != owner:
        os.fchown(handle, owner, owner)
