"""Files that are there whole or not at all, whatever happens while they are written."""

import errno
import os
import tempfile
from pathlib import Path

BEGUN = ".new-"
"""How the name of a file begins that is being written; one is left when its writer is killed."""


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
            give(file.fileno(), owner)
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


def give(handle: int, owner: int | None) -> None:
    """Let an open file or folder be a user's, by number; with None, it stays whose it is."""
    if owner is not None and os.fstat(handle).st_uid != owner:
        os.fchown(handle, owner, owner)
