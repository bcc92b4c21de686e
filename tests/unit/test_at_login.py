"""The start at login: what is written where, and what systemd makes of it."""

import os
import plistlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from trackstack.environment import Environment
from trackstack.errors import UsageError
from trackstack.targets import at_login
from trackstack.targets.at_login import Starter
from unit.making import Called, deployed

AWKWARD = 'it\'s a "wide" 100% über-long; $HOME ${PATH} %h 東京 \\n\\x41\n'
UNIT = "trackstack-local.service"


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this account keeps its settings; no systemd runs for it."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path / "account"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    return tmp_path / "account" / ".config" / "systemd" / "user"


def starter(folder: Path, **variables: str) -> Starter:
    command = [sys.executable, "-P", "-m", "trackstack.agent.launcher", str(folder), "a$b", "local"]
    return Starter("local", folder, command, variables)


def test_the_unit_is_for_its_owner_only_and_enabled_as_systemctl_does(settings: Path) -> None:
    at_login.install(starter(Path("/home/ada/machine")))
    unit = settings / UNIT
    assert unit.stat().st_mode & 0o777 == 0o600, "its variables may hold a proxy's password"
    assert (settings / "default.target.wants" / UNIT).readlink() == unit


def test_systemd_finds_nothing_to_say_about_the_unit(settings: Path, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is missing")
    program = tmp_path / AWKWARD.replace("\n", "") / "python"
    program.parent.mkdir()
    program.symlink_to(sys.executable)
    at_login.install(
        Starter("local", tmp_path, [str(program), str(tmp_path / AWKWARD)], {"A": AWKWARD})
    )
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    done = subprocess.run(
        [analyze, "--user", "--man=no", "verify", settings / UNIT],
        capture_output=True,
        text=True,
        # It looks for other units in the folders of the account.
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(runtime)},
        check=False,
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_every_word_of_the_command_and_of_the_variables_is_escaped(settings: Path) -> None:
    at_login.install(
        Starter("local", Path("/m"), ["/a $b%/x", 'a "$b" %h \\ c\td'], {"NAME": "a $b %h"})
    )
    lines = (settings / UNIT).read_text().splitlines()
    shell = r'/bin/sh -c "exec \"$$0\" \"$$@\""'
    assert rf'ExecStart={shell} "/a $$b%%/x" "a \"$$b\" %%h \\ c\x09d"' in lines
    assert 'Environment="NAME=a $b %%h"' in lines


def test_a_second_installation_changes_nothing_and_tells_nothing(settings: Path) -> None:
    machine = starter(Path("/home/ada/machine"))
    assert at_login.install(machine)
    before = (settings / UNIT).stat().st_ino
    assert at_login.install(machine) is None
    assert (settings / UNIT).stat().st_ino == before


def test_another_python_is_taken_over_without_a_word(settings: Path) -> None:
    machine = Path("/home/ada/machine")
    at_login.install(starter(machine, PATH="/old"))
    assert at_login.install(starter(machine, PATH="/new")) is None
    assert 'Environment="PATH=/new"' in (settings / UNIT).read_text()


def test_a_unit_that_was_disabled_by_hand_is_enabled_again(settings: Path) -> None:
    machine = starter(Path("/home/ada/machine"))
    at_login.install(machine)
    (settings / "default.target.wants" / UNIT).unlink()
    assert at_login.install(machine)
    assert (settings / "default.target.wants" / UNIT).is_symlink()


def test_removal_leaves_nothing_and_may_be_repeated(settings: Path) -> None:
    machine = starter(Path("/home/ada/machine"))
    at_login.install(machine)
    at_login.remove(machine)
    at_login.remove(machine)
    assert [path for path in settings.rglob("*") if not path.is_dir()] == []
    assert not at_login.installed(machine)


def test_the_unit_of_another_home_folder_is_neither_replaced_nor_removed(settings: Path) -> None:
    at_login.install(starter(Path("/home/ada/machine")))
    other = starter(Path("/home/ada/machine-2"))
    with pytest.raises(UsageError) as refused:
        at_login.check(other)
    at_login.remove(other)
    assert str(settings / UNIT) in refused.value.sentence
    assert at_login.installed(starter(Path("/home/ada/machine")))
    assert not at_login.installed(other)


def test_a_settings_folder_of_ones_own_is_kept_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "mine"))
    at_login.install(starter(Path("/home/ada/machine")))
    assert (tmp_path / "mine" / "systemd" / "user" / UNIT).is_file()


@pytest.mark.parametrize(("runs", "told"), [(True, "when you log in:"), (False, "not here now")])
def test_it_is_told_whether_a_systemd_runs_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: bool, told: str
) -> None:
    systemctl = tmp_path / "bin" / "systemctl"
    systemctl.parent.mkdir()
    systemctl.write_text(f"#!/bin/sh\nexit {0 if runs else 1}\n")
    systemctl.chmod(0o700)
    monkeypatch.setenv("PATH", f"{systemctl.parent}:/bin")
    said = at_login.install(starter(Path("/home/ada/machine"))) or ""
    assert told in said
    assert "`loginctl enable-linger`" in said


def test_on_macos_it_is_a_launchd_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    machine = starter(tmp_path / AWKWARD, A="b")
    assert at_login.install(machine)
    file = tmp_path / "account" / "Library" / "LaunchAgents" / "trackstack.local.plist"
    told = plistlib.loads(file.read_bytes())
    assert told["ProgramArguments"] == list(machine.command)
    assert (told["EnvironmentVariables"], told["RunAtLoad"]) == ({"A": "b"}, True)
    assert at_login.install(machine) is None
    assert at_login.installed(machine)
    at_login.remove(machine)
    assert not file.exists()


def test_the_unit_starts_what_a_deploy_starts(
    environment: Environment, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []

    def note(command: list[str], **_: object) -> None:
        started.append(command)
        raise KeyboardInterrupt

    environment.target.start_at_login(True)
    monkeypatch.setattr(subprocess, "Popen", note)
    with pytest.raises(KeyboardInterrupt):
        environment.target.start()
    line = " ".join(f'"{word}"' for word in started[0])
    assert f" {line}\n" in (settings / UNIT).read_text()


def test_status_tells_of_it(environment: Environment, command: Callable[..., Called]) -> None:
    assert "at login" not in command("status").out
    environment.target.start_at_login(True)
    assert "at login     starts by itself\n" in command("status").out


def test_plan_tells_of_it(environment: Environment, command: Callable[..., Called]) -> None:
    assert environment.exists
    assert "~ at_login  false -> true" in command("plan", "local", "--at-login").out


@pytest.mark.parametrize("more", [("--yes",), ("--purge", "--confirm", "local")])
def test_destroy_takes_it_away(
    settings: Path, command: Callable[..., Called], more: tuple[str, ...]
) -> None:
    deployed("local", "ada").target.start_at_login(True)
    assert command("destroy", *more).code == 0
    assert [path for path in settings.rglob("*") if not path.is_dir()] == []
