"""The server's Python packages, pinned and hashed together."""

import os
import re
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path

import uv

from trackstack import bundle
from trackstack.errors import TrackstackError, UsageError

DEFAULT_MLFLOW = "3.17.2"
"""The MLflow version a new environment gets: the newest whose own pins resolve (2026-11-20)."""

OLDEST_PYTHON = "3.11"

POSTGRESQL_DRIVER = "psycopg[binary]"
S3_CLIENT = "boto3"
GCS_CLIENT = "google-cloud-storage"
SFTP_CLIENT = "paramiko"
JUPYTER = ("jupyterlab", "pip")
"""With pip, so that a notebook can install what it needs."""

_SHIPPED = {
    frozenset[str](): "",
    frozenset({POSTGRESQL_DRIVER, S3_CLIENT}): "-aws",
    frozenset({POSTGRESQL_DRIVER, GCS_CLIENT}): "-gcp",
    frozenset({POSTGRESQL_DRIVER, SFTP_CLIENT}): "-compose",
    frozenset(JUPYTER): "-jupyter",
}
"""What the kit ships locks for besides MLflow alone, with how their files' names go on."""

_HASHED = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;\\]+)", re.MULTILINE)


def for_mlflow(version: str, extra: Sequence[str] = ()) -> str:
    """The lock for a version of MLflow and extra packages: the shipped one, or a fresh one.

    Args:
        version: such as '3.17.2'.
        extra: further requirements, resolved together with MLflow's own.

    Raises:
        UsageError, TrackstackError: as `resolve`.
    """
    name = _SHIPPED.get(frozenset(extra))
    shipped = bundle.templates() / "requirements" / f"mlflow-{version}{name}.txt"
    if name is not None and shipped.is_file():
        return shipped.read_text()
    return resolve([f"mlflow=={version}", *extra])


def resolve(requirements: list[str]) -> str:
    """Resolve requirements together into one lock for every platform and Python >= 3.11.

    Args:
        requirements: as in a requirements file, such as 'mlflow==3.17.2'.

    Returns:
        A requirements file in which every package has its version and hashes.

    Raises:
        UsageError: they exclude each other, or one does not exist.
        TrackstackError: the package index cannot be reached.
    """
    flags = ["--universal", "--python-version", OLDEST_PYTHON]
    return _compile(requirements, flags, Path(bundle.__file__).parent)


def resolve_for(
    python: Path, requirements: list[str], folder: Path, known: str, settings: Mapping[str, str]
) -> str:
    """Resolve requirements together for one Python of this computer.

    Args:
        python: the program.
        requirements: as in a requirements file.
        folder: the one that their paths are relative to.
        known: a lock, whose versions are taken where they fit.
        settings: uv's environment variables.

    Raises:
        UsageError, TrackstackError: as `resolve`.
    """
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "packages.txt"
        # What the output file holds already, uv prefers.
        file.write_text(known)
        flags = ["--python", str(python), "--output-file", str(file)]
        _compile(requirements, flags, folder, settings)
        return file.read_text()


def _compile(
    requirements: list[str],
    flags: list[str],
    folder: Path,
    settings: Mapping[str, str] | None = None,
) -> str:
    command = [uv.find_uv_bin(), "pip", "compile", "-", "--quiet", "--no-python-downloads", *flags]
    command += ["--generate-hashes", "--no-header"]
    command += ["--no-annotate", "--no-emit-index-url", "--no-progress", "--color", "never"]
    done = subprocess.run(
        command,
        input="\n".join(requirements) + "\n",
        capture_output=True,
        text=True,
        check=False,
        env={**uv_settings(), **os.environ, **(settings or {})},
        cwd=folder,
    )
    if done.returncode == 0:
        return done.stdout
    told = " ".join(done.stderr.split())
    wanted = ", ".join(requirements)
    if "No solution found" in told:
        why = re.split("╰─▶|cause:", told)[-1].strip()
        raise UsageError(
            f"These packages cannot be installed together: {wanted}. {why}",
            "Change or drop one of the versions.",
        )
    raise TrackstackError(
        f"The packages {wanted} could not be looked up: {told[-600:]}",
        "Check the network and the package index that uv is set up for, then try again.",
    )


def uv_settings() -> dict[str, str]:
    """What uv has to be told wherever the kit runs it, as environment variables.

    It brings certificates of its own; told so, it also trusts those that a company put on the
    computer, which is what a private package index needs.
    """
    there = ssl.get_default_verify_paths()
    known = bool(there.cafile or there.capath) or sys.platform == "darwin"
    return {"UV_SYSTEM_CERTS": "1"} if known else {}


def only(lock: str, name: str) -> str:
    """The part of a lock that is about one package."""
    lines = lock.splitlines(keepends=True)
    first = next(n for n, line in enumerate(lines) if line.startswith(f"{name}=="))
    rest = takewhile(lambda line: line.startswith(" "), lines[first + 1 :])
    return "".join([lines[first], *rest])


def versions(lock: str) -> dict[str, str]:
    """The version of each package in a lock, by name; all of them where platforms differ."""
    found: dict[str, list[str]] = {}
    for each in _HASHED.finditer(lock):
        found.setdefault(each["name"], []).append(each["version"])
    return {name: " or ".join(those) for name, those in found.items()}
