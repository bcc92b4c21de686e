"""The command line's own time, installed as a user installs it: without what the tests need."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.contenders import Contenders
from bench.figures import Sample

ROOT = Path(__file__).parent.parent
BARE = """
import typer

app = typer.Typer()


@app.command()
def deploy(name: str = "local", port: int = 5000) -> None:
    "Deploy."


@app.command()
def status(name: str = "local") -> None:
    "Show."


app()
"""


def installed(folder: Path) -> Path:
    """A fresh environment with the kit from its lock file; returns its folder of programs."""
    uv = Path(sys.executable).parent / "uv"
    programs = folder / "installed" / "bin"
    for command in (
        ["venv", "--quiet", "--python", sys.executable, programs.parent],
        ["pip", "install", "--quiet", "--compile", "-r", ROOT / "requirements.lock"],
        ["pip", "install", "--quiet", "--compile", "--no-deps", ROOT],
    ):
        environment = {**os.environ, "VIRTUAL_ENV": str(programs.parent)}
        subprocess.run([uv, *command], check=True, env=environment)
    (programs / "bare").write_text(f"#!{programs}/python\n{BARE}")
    (programs / "bare").chmod(0o755)
    return programs


def commands(these: Contenders, programs: Path) -> Iterator[Sample]:
    """--help of a bare Typer app and of the kit, and a deploy that changes nothing."""
    environment = these.kit.environment

    def took(*command: str | Path) -> float:
        began = time.perf_counter()
        subprocess.run(
            command, check=True, capture_output=True, env=environment, stdin=subprocess.DEVNULL
        )
        return (time.perf_counter() - began) * 1000

    bare = took(programs / "bare", "--help")
    help_ = took(programs / "trackstack", "--help")
    yield Sample("help", help_, bare)
    yield Sample("unchanged", took(programs / "trackstack", "deploy", "local"), help_)
