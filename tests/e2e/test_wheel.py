"""What people install: the wheel holds all it needs, in an environment with nothing else."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uv
from servers import Server, kill_all_in, processes_in

import trackstack
from kits import CACHE, free_port, seed_packages

CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Installed(Server):
    """A server of the command that was installed from the wheel."""

    folder_of_venv: Path

    def call(self, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        """Run the installed command, far from the checkout."""
        return subprocess.run(
            [self.folder_of_venv / "bin" / "trackstack", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=self.environment,
            cwd=self.home.parent,
            check=False,
            timeout=240,
        )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """The wheel, built from this checkout and installed into an empty environment."""
    base = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", base, CHECKOUT)
    (wheel,) = base.glob("*.whl")
    tool = uv.find_uv_bin()
    _run(tool, "venv", "--quiet", "--no-project", "--python", sys.executable, base / "venv")
    _run(tool, "pip", "install", "--quiet", "--python", base / "venv", wheel)
    made = Installed(base / "home", free_port(), base / "account", base / "venv")
    try:
        yield made
    finally:
        kill_all_in(base)
        _run("rm", "-rf", base)


def test_the_installed_command_tells_its_version(installed: Installed) -> None:
    assert installed.call("--version").stdout.strip() == trackstack.__version__


@pytest.mark.parametrize(
    ("shown", "module"),
    [
        ("uv tool install .", "trackstack.cli"),
        ("uv tool install '.[aws]'", "trackstack.targets.aws, trackstack.targets.engine"),
        ("uv tool install '.[gcp]'", "trackstack.targets.gcp, trackstack.targets.engine"),
    ],
)
def test_the_pages_ways_to_install_it_work(tmp_path: Path, shown: str, module: str) -> None:
    done = subprocess.run(
        [uv.find_uv_bin(), *shlex.split(shown)[1:], "--quiet", "--python", sys.executable],
        cwd=CHECKOUT,
        env={
            **os.environ,
            "UV_TOOL_DIR": str(tmp_path / "tools"),
            "UV_TOOL_BIN_DIR": str(tmp_path / "bin"),
            "UV_CACHE_DIR": str(CACHE / "uv"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = subprocess.run(
        [tmp_path / "bin" / "trackstack", "--version"], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == trackstack.__version__
    _run(tmp_path / "tools" / "trackstack" / "bin" / "python", "-c", f"import {module}")


def test_the_installed_command_renders_what_the_checkout_renders(
    installed: Installed, tmp_path: Path
) -> None:
    flags = ("--port", "8123", "--workers", "3")
    assert installed.call("render", tmp_path / "wheel", *flags).returncode == 0
    installed.run("render", tmp_path / "checkout", *flags)
    rendered = [
        {file.relative_to(top): file.read_bytes() for file in top.rglob("*") if file.is_file()}
        for top in (tmp_path / "wheel", tmp_path / "checkout")
    ]
    assert rendered[0]
    assert rendered[0] == rendered[1]


def test_the_installed_command_deploys_and_purges_without_a_trace(installed: Installed) -> None:
    installed.machine().mkdir(parents=True)
    seed_packages(installed.machine())
    deployed = installed.call("deploy", "local", "--port", str(installed.port), "--workers", "1")
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    purged = installed.call("destroy", "--purge", "--confirm", "local")
    assert purged.returncode == 0, purged.stdout + purged.stderr
    assert processes_in(installed.home) == []
    assert list((installed.home / "environments").iterdir()) == []
    again = installed.call("destroy", "--purge", "--confirm", "local")
    assert again.returncode == 0, again.stdout + again.stderr


def _run(*command: str | Path) -> None:
    done = subprocess.run(
        [*map(str, command)],
        env={**os.environ, "UV_CACHE_DIR": str(CACHE / "uv"), "UV_PYTHON_DOWNLOADS": "never"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command[0]} failed:\n{done.stdout}\n{done.stderr}"
