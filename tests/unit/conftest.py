"""Unit tests: no server, no MLflow, no nginx, no network; every file below tmp_path."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from trackstack.agent import folders
from trackstack.control.directory import DirectoryStore
from trackstack.environment import Environment
from unit.making import Called, deployed

# No deadline: a machine with other work on it is not a bug. No database: nothing is left behind.
hypothesis.settings.register_profile("unit", deadline=None, database=None, max_examples=40)
hypothesis.settings.load_profile("unit")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """TRACKSTACK_HOME of this test's own; nothing of this shell's settings reaches the kit."""
    for name in list(os.environ):
        if name.startswith(("TRACKSTACK_", "MLFLOW_", "UV_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TRACKSTACK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_COLOR", "1")
    # Nobody pulls the plug of these files, and the disk would take most of the tests' time.
    # test_durable watches the calls themselves.
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path / "home"


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    """An empty control store in tmp_path / 'control'."""
    return DirectoryStore(tmp_path / "control")


@pytest.fixture
def environment() -> Environment:
    """An environment 'local' as a deploy for ada leaves it, whose machine does not run."""
    return deployed("local", "ada")


@pytest.fixture
def machine_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine's folder with all it holds at first; the test works in it, as the agent does."""
    folder = tmp_path / "machine"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folders.make_all()
    assert folders.USERS.is_dir()
    return folder


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Called]]:
    """The command line, called in this process and without a terminal."""
    from trackstack import cli  # noqa: PLC0415  Typer is worth importing for few tests only

    def call(*arguments: str | Path) -> Called:
        monkeypatch.setattr(sys, "argv", ["trackstack", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        return Called(int(ended.value.code or 0), told.out, told.err)

    return call
