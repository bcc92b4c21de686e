"""What a new data volume holds already, so that a test installs nothing: made once, then linked."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import uv

from kits import CACHE, made_once, seed_packages
from trackstack import agent_archive, lock
from trackstack.desired import content_id

_PYTHON = ".".join(str(part) for part in sys.version_info[:3])
DRIVERS = {
    "aws": [lock.POSTGRESQL_DRIVER, lock.S3_CLIENT],
    "gcp": [lock.POSTGRESQL_DRIVER, lock.GCS_CLIENT],
}
"""What a release in a cloud has besides MLflow."""


def seed(volume: Path, cloud: str) -> None:
    """Give a volume the packages of the kit's own agent and of a default release, as hard links.

    Args:
        volume: an empty folder.
        cloud: 'aws' or 'gcp'.
    """
    server = lock.for_mlflow(lock.DEFAULT_MLFLOW, DRIVERS[cloud])
    name = content_id(server)
    _link(
        made_once(f"packages-{name}-{_PYTHON}", lambda folder: _make_server(folder, server)),
        volume / "machine" / "packages" / name,
    )
    agent = agent_archive.lock(cloud)
    name = hashlib.sha256(agent.encode()).hexdigest()
    _link(
        made_once(f"agent-{name[:16]}-{_PYTHON}", lambda folder: _make_agent(folder, agent)),
        volume / "agent" / name,
    )


def _make_server(folder: Path, wanted: str) -> None:
    """Plain MLflow's packages with what is missing: quicker than the agent's own installation."""
    seed_packages(folder.parent)
    (plain,) = (folder.parent / "packages").iterdir()
    plain.rename(folder)
    # The agent's own word that all is installed.
    whole = folder / ".whole"
    whole.unlink()
    _install(folder, wanted)
    whole.touch()


def _make_agent(folder: Path, wanted: str) -> None:
    """As boot.py makes it, but that uv's cache is asked first."""
    python = getattr(sys, "_base_executable", sys.executable)
    subprocess.run([python, "-m", "venv", folder], check=True)
    _install(folder, wanted)


def _install(folder: Path, wanted: str) -> None:
    command = [uv.find_uv_bin(), "pip", "install", "--quiet", "--require-hashes"]
    done = subprocess.run(
        [*command, "--python", folder / "bin" / "python", "-r", "-"],
        input=wanted,
        text=True,
        capture_output=True,
        env={**lock.uv_settings(), **os.environ, "UV_CACHE_DIR": str(CACHE / "uv")},
        check=False,
    )
    assert done.returncode == 0, f"{folder} cannot be filled:\n{done.stderr}"


def _link(ready: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-al", ready, place], check=True)
