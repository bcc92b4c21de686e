"""Every command of the workspace's page, in a reader's order, with a Docker Engine."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import ROOT, commands, script_of

from compose.engine import Engine, docker_engine
from kits import COMMAND

IMAGE = "debian:trixie-slim"
"""What the page's commands take for the base: here it is made, and not fetched."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with docker_engine(tmp_path_factory.mktemp("docker")) as made:
        yield made


def test_every_command_of_the_workspaces_page_runs(engine: Engine, tmp_path: Path) -> None:
    engine.docker("tag", engine.base, IMAGE)
    path = f"{COMMAND.parent}:{engine.variables['PATH']}"
    try:
        done = subprocess.run(
            engine.command(
                "bash", "-euo", "pipefail", "-c", script_of(commands(ROOT / "docs" / "compose.md"))
            ),
            env={**engine.variables, "PATH": path, "HOME": str(tmp_path)},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        engine.docker("rmi", IMAGE)
    assert done.returncode == 0, f"after the last line that starts with '+':\n{done.stderr}"
    assert engine.docker("ps", "--all", "--quiet").stdout == ""
    assert engine.docker("volume", "ls", "--quiet").stdout == ""
    kept = engine.docker("image", "ls", "--all", "--quiet", "--no-trunc").stdout.split()
    assert len(set(kept)) == 1, "an image is left besides the base"
