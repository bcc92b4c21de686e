"""What the engine is made of: a Debian 13 with Docker in it, and a bare one to build images on."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import roots

SUITE = "trixie"
_ENGINE = ("docker.io", "docker-cli", "docker-compose", "docker-buildx")
_BASE = ("apt",)
"""Debian's own images on Docker Hub have no more, so no image of ours may need more."""


@dataclass(frozen=True)
class Docker:
    """What all engines start from.

    Attributes:
        root: a system with daemon, client and the client's plugins; for reading only.
        base: the root of the base image, as tar.
        stores: what engines keep lies there, and goes when the rest is outdated.
    """

    root: Path
    base: Path
    stores: Path


@contextmanager
def golden_docker() -> Iterator[Docker]:
    """All of it; made in half a minute when it is not in the cache."""
    recipe = Path(__file__).read_bytes() + Path(roots.__file__).read_bytes()
    with roots.golden_root("docker", recipe, _make) as folder:
        yield Docker(folder / "root", folder / "base.tar", folder / "stores")


def _make(folder: Path) -> None:
    for each in (folder, folder / "stores"):
        each.mkdir()
    roots.debian(SUITE, _ENGINE, folder / "root")
    base = folder / "base"
    roots.debian(SUITE, _BASE, base)
    roots.copy_network_settings(base, leave_out=("etc/resolv.conf", "etc/hosts"))
    without = ("--exclude=./dev/*", "--exclude=./etc/hostname")
    subprocess.run(["tar", "-C", base, *without, "-cf", folder / "base.tar", "."], check=True)
    subprocess.run(["rm", "-rf", base], check=True)
