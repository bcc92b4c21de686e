"""What the unit of `--at-login` says is done as systemd does it: the server comes back.

With a stand-in for MLflow.
"""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from boxes import MACHINE, Box, running_box

from trackstack.agent.processes import holder
from trackstack.targets import at_login
from trackstack.targets.at_login import Starter


def _read(unit: str) -> tuple[list[str], dict[str, str]]:
    """Command and variables as systemd takes them from a unit, of the escapes the kit uses."""
    lines = [line.partition("=") for line in unit.splitlines()]

    def words(key: str) -> list[list[str]]:
        texts = [text for name, _, text in lines if name == key]
        return [[word.replace("%%", "%") for word in shlex.split(text)] for text in texts]

    (command,) = words("ExecStart")
    variables = dict(word.split("=", 1) for (word,) in words("Environment"))
    return [word.replace("$$", "$") for word in command], variables


def _unit(box: Box, folder: Path) -> tuple[list[str], dict[str, str]]:
    command = [sys.executable, "-P", "-m", "trackstack.agent.launcher", str(box.machine)]
    variables = {"PATH": os.environ["PATH"], "UV_CACHE_DIR": str(box.folder / "uv")}
    at_login.install(Starter("local", box.machine, [*command, "../control", MACHINE], variables))
    (unit,) = folder.rglob("systemd/user/*.service")
    return _read(unit.read_text())


def test_the_unit_brings_a_server_back_and_is_harmless_while_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with running_box(driven=False) as box:
        command, variables = _unit(box, tmp_path)
        account = {**variables, "HOME": str(tmp_path)}
        release, _ = box.want_release(), box.want_users({"ada": "one"})
        box.wait_observed(
            lambda report: report.healthy and report.applied.release == release.generation, "health"
        )
        before = holder(box.machine)
        second = subprocess.run(command, env=account, capture_output=True, timeout=30, check=False)
        assert (second.returncode, second.stderr, holder(box.machine)) == (0, b"", before)
        # As after a restart of the computer: nothing supervises.
        for pid in (before, box.process("trackstack.agent").pid):
            psutil.Process(pid).kill()
        with subprocess.Popen(command, env=account) as unit:
            report = box.observed()
            assert report is not None
            box.wait_observed(lambda new: new.healthy and new != report, "a new report")
            assert holder(box.machine) == unit.pid
            assert box.faults(release, 1, {"ada": "one"}) == []
            unit.terminate()
            unit.wait(20)
            assert unit.returncode == 0, "systemd would take its stop for a failure"
