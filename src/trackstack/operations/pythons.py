"""Pythons with locked packages for what runs on this computer; made once for each lock."""

import fcntl
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uv

from trackstack import lock
from trackstack.desired import content_id
from trackstack.durable import make_folder
from trackstack.environment import home
from trackstack.errors import MissingError, TrackstackError
from trackstack.operations.project import Imports


def with_lock(packages: str) -> Path:
    """The kit's own Python with exactly the packages of a lock, each checked against its hash.

    Args:
        packages: a requirements file with hashes.

    Raises:
        TrackstackError: they could not be installed.
    """
    return _made(packages, Path(sys.executable), Path.cwd(), ["--require-hashes"])


def with_imports(wanted: Imports, folder: Path, known: str) -> Path:
    """A Python with what a project imports.

    Args:
        wanted: its version and its packages.
        folder: the project's, in which its requirements hold.
        known: a lock, whose versions are taken where they fit.

    Raises:
        UsageError: the packages exclude each other, or one does not exist.
        MissingError: this computer has no such Python.
        TrackstackError: they could not be looked up or installed.
    """
    base = _python(wanted.python)
    packages = lock.resolve_for(base, list(wanted.requirements), folder, known, _settings())
    return _made(packages, base, folder, [])


def _python(version: str | None) -> Path:
    """A Python of this computer, the kit's own when any will do."""
    if version is None:
        return Path(sys.executable)
    command = [uv.find_uv_bin(), "python", "find", "--no-project", "--system", version]
    done = subprocess.run(command, capture_output=True, text=True, env=_settings(), check=False)
    if done.returncode != 0:
        raise MissingError(
            f"The project wants Python {version}, which this computer does not have.",
            "Install it, such as with `uv python install`, or change the project's file.",
        )
    return Path(done.stdout.strip())


def _made(packages: str, base: Path, cwd: Path, flags: list[str]) -> Path:
    told = subprocess.run([base, "-VV"], capture_output=True, text=True, check=False).stdout
    local = str(cwd) if re.search(r"^(-e|\.|/|file:)|@ file:", packages, re.MULTILINE) else ""
    folder = home() / "cache" / "pythons" / content_id([packages, str(base), told, local])
    whole = folder / ".whole"
    make_folder(folder.parent)
    with _held(folder.with_suffix(".lock")), tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "packages.txt"
        file.write_text(packages)
        if not whole.is_file():
            _uv(["venv", "--clear", "--no-project", "--python", str(base), str(folder)], cwd)
        # Also of a whole one: a project may name a folder, whose content changes.
        _uv(
            [
                "pip",
                "sync",
                "--allow-empty-requirements",
                "--python",
                str(folder),
                *flags,
                str(file),
            ],
            cwd,
        )
        whole.touch()
    return folder / "bin" / "python"


def _uv(arguments: list[str], cwd: Path) -> None:
    command = [uv.find_uv_bin(), *arguments, "--quiet"]
    done = subprocess.run(
        command, capture_output=True, text=True, env=_settings(), cwd=cwd, check=False
    )
    if done.returncode != 0:
        told = " ".join(done.stderr.split())
        raise TrackstackError(
            f"The packages could not be installed: {told[-600:]}",
            "Check the network and the package index that uv is set up for, then try again.",
        )


@contextmanager
def _held(file: Path) -> Iterator[None]:
    """Have a second command wait for the first, and find what that has made."""
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _settings() -> dict[str, str]:
    own = {"UV_CACHE_DIR": str(home() / "cache" / "uv"), **lock.uv_settings()}
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    if not (data / "uv" / "credentials").exists():
        # Who keeps none with uv would else get that folder, for uv to lock a file in.
        own["UV_CREDENTIALS_DIR"] = str(home() / "cache" / "uv-credentials")
    return {**own, **os.environ}
