"""Where a project's files come from: a folder of this computer, or a git repository."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from trackstack.errors import MissingError, TrackstackError, UsageError, printable

_LOOKS = "An address looks like https://git.example.com/team/project.git."
_GIT = re.compile(r"([a-z][a-z0-9+]*://.+|[\w.-]+@[\w.-]+:.+)", re.IGNORECASE)


@contextmanager
def at_hand(source: str, version: str | None) -> Iterator[Path]:
    """The project's folder; one that came from git is gone afterwards.

    Args:
        source: a folder, or the address of a git repository, which may end with '#FOLDER'.
        version: a branch, a tag or a commit of it; None for its default branch.

    Raises:
        UsageError: there is no such folder, repository or version.
        MissingError: this computer has no git.
    """
    if not is_address(source):
        yield _folder(source, version)
        return
    address, _, below = source.partition("#")
    with tempfile.TemporaryDirectory(prefix="trackstack-") as made:
        root = Path(made).resolve()
        _fetch(address, version, root)
        folder = (root / below).resolve()
        if not folder.is_dir() or not folder.is_relative_to(root):
            raise UsageError(f"{without_login(address)} has no folder {below!r}.")
        yield folder


def is_address(source: str) -> bool:
    """Whether it is the address of a git repository, and no folder."""
    return _GIT.fullmatch(source) is not None


def without_login(address: str) -> str:
    """An address without the name and password that it may hold.

    Raises:
        UsageError: it cannot be taken apart.
    """
    try:
        parts = urlsplit(address)
    except ValueError as error:
        # Neither is shown: where a password ends in it is not known.
        raise UsageError("That is no address of a git repository.", _LOOKS) from error
    if not parts.scheme or "@" not in parts.netloc:
        return address
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _folder(source: str, version: str | None) -> Path:
    folder = Path(source)
    if not folder.is_dir() and "#" in source:
        folder = Path(source.partition("#")[0], source.partition("#")[2])
    if not folder.is_dir():
        raise UsageError(
            f"{source} is no folder, and no address of a git repository.",
            _LOOKS,
        )
    if version is not None:
        raise UsageError(
            "--version goes with the address of a git repository.",
            f"Of a repository on this computer that is file://{folder.absolute()}.",
        )
    return folder.absolute()


def _fetch(address: str, version: str | None, folder: Path) -> None:
    if shutil.which("git") is None:
        raise MissingError(
            "A project from a git repository needs git, which this computer lacks.",
            "Install it, such as with `apt-get install git`.",
        )
    if version is not None and not re.fullmatch(r"[^-\s][^\s:]*", version):
        raise UsageError(f"{version!r} is no branch, tag or commit.")
    shown = without_login(address)
    # As `mlflow run` does, so that a run carries the same commit and address.
    for command in (
        ("init", "--quiet"),
        ("remote", "add", "origin", address),
        ("fetch", "--quiet", "--depth", "1", "origin", version or "HEAD"),
        ("checkout", "--quiet", "--detach", "FETCH_HEAD"),
        ("submodule", "--quiet", "update", "--init", "--recursive"),
        ("remote", "set-url", "origin", shown),
    ):
        # Asked on the terminal, a login is none of the kit's business.
        done = subprocess.run(
            ["git", *command], cwd=folder, stderr=subprocess.PIPE, text=True, check=False
        )
        if done.returncode == 0:
            continue
        told = printable(done.stderr.strip().splitlines()[-1]) if done.stderr.strip() else "no word"
        told = told.replace(address, shown).removeprefix("fatal: ").rstrip(".")
        if command[0] == "fetch":
            what = f"{version!r} of {shown}" if version else shown
            raise UsageError(f"{what} could not be fetched: {told}.")
        raise TrackstackError(f"git {command[0]} of {shown} failed: {told}.")
