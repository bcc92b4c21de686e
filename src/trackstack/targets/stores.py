"""Tries an outer database or bucket from this computer, before anything is changed."""

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import uv

from trackstack.agent.ensure_stores import open_stores
from trackstack.agent.machine import StepError
from trackstack.errors import TrackstackError


def try_stores(
    given: dict[str, str], drivers: Sequence[str], packages: str, inherited: Mapping[str, str]
) -> None:
    """Open a server's stores with their drivers, which the kit itself lacks.

    Args:
        given: MLflow's environment variables, with the credentials.
        drivers: the packages of the lock that open them.
        packages: the server's lock.
        inherited: the variables that the server will have besides.

    Raises:
        TrackstackError: one does not open.
    """
    with tempfile.TemporaryDirectory(prefix="trackstack-") as folder:
        python = _python_with(drivers, packages, Path(folder), inherited)
        try:
            open_stores(python, given, {**inherited, "HOME": folder})
        except StepError as error:
            raise TrackstackError(
                f"{error.problem[0].upper()}{error.problem[1:]}.",
                "Nothing was changed. Mend that, or give other credentials, and try again.",
            ) from error


def _python_with(
    drivers: Sequence[str], packages: str, folder: Path, inherited: Mapping[str, str]
) -> Path:
    lock, made = folder / "packages.txt", folder / "drivers"
    lock.write_text(packages)
    quiet = [uv.find_uv_bin(), "--quiet"]
    making = ["venv", "--no-project", "--python", sys.executable, str(made)]
    # What a lock has hashes for is checked against them.
    filling = ["pip", "install", "--python", str(made), "--constraint", str(lock), *drivers]
    for command in (making, filling):
        done = subprocess.run(
            [*quiet, *command], capture_output=True, text=True, env=inherited, check=False
        )
        if done.returncode != 0:
            told = " ".join(done.stderr.split())
            raise TrackstackError(
                f"{' and '.join(drivers)} could not be installed to try the stores: {told[-600:]}",
                "Check the network and the package index that uv is set up for, then try again.",
            )
    return made / "bin" / "python"
