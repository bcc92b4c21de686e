"""A second environment beside the first, whose deploy is interrupted again and again."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import pytest
from servers import ADA, Server, ended_after, kill_all_in, passwords_in, processes_in, send_at

from kits import eventually, free_port, seed_packages

NAME = "second"


@dataclass(frozen=True)
class Second(Server):
    """The second environment, and how it came to be.

    Attributes:
        interrupted: exit code and words of the deploy that got Control-C.
        refused: exit code and words of a deploy beside another.
        last: of the deploy that was left alone.
    """

    interrupted: tuple[int, str]
    refused: tuple[int, str]
    last: "subprocess.CompletedProcess[str]"

    @property
    def url(self) -> str:
        """Where it is now: a test moves it to another port."""
        told = self.json("status", "-e", NAME)
        assert isinstance(told, dict)
        return str(told["url"])

    def password(self) -> str:
        """The owner's password."""
        printed = self.json("env", "-e", NAME)
        assert isinstance(printed, dict)
        return str(printed["MLFLOW_TRACKING_PASSWORD"])


@pytest.fixture(scope="module")
def second(
    server: Server,
    ada: str,  # noqa: ARG001  let in while there is one environment
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Second]:
    """An environment whose deploy was killed at several moments, then left alone."""
    port = free_port()
    # To be started at login it writes to its account's home folder, which other tests want empty.
    server = replace(server, account=tmp_path_factory.mktemp("second"))
    machine = server.machine(NAME)
    command = ("deploy", "local", "-e", NAME, "--port", str(port), "--workers", "1", "--user", "bo")
    command += ("--at-login",)
    machine.mkdir(parents=True)
    seed_packages(machine)
    try:
        send_at(server.start(*command), "NEW environment")
        _kill_once_the_machine_runs(server, command)
        interrupted = _interrupt(server, command)
        _cut_power_while_mlflow_starts(server, command)
        refused = _try_beside_another(server, command)
        last = server.run(*command)
        made = Second(server.home, port, server.account, interrupted, refused, last)
        yield made
    finally:
        kill_all_in(machine)
        subprocess.run(["rm", "-rf", server.folder(NAME)], check=True)


def test_an_interrupted_deploy_says_that_it_may_be_run_again(second: Second) -> None:
    code, told = second.interrupted
    assert (code, "run the same command again" in told) == (130, True), told


def test_the_second_of_two_deploys_at_once_is_told_of_the_first(second: Second) -> None:
    code, told = second.refused
    assert (code, f"Another command is changing environment '{NAME}'" in told) == (5, True), told


def test_a_deploy_that_was_killed_before_ends_well(second: Second) -> None:
    assert second.status_for("bo", second.password()) == 200


def test_a_deploy_that_was_killed_before_let_in_each_user_once(second: Second) -> None:
    listed = second.json("users", "list", "-e", NAME)
    assert isinstance(listed, list)
    assert [each["user"] for each in listed] == ["bo"]


def test_after_a_deploy_that_was_killed_amid_its_verify_the_next_one_verifies_in_full(
    second: Second,
) -> None:
    assert "an artifact of 64 MB" in second.last.stderr, second.last.stderr


def test_a_deploy_without_a_terminal_shows_no_password(second: Second) -> None:
    assert passwords_in(second.last.stdout + second.last.stderr) == []


def test_every_write_of_a_killed_deploy_has_its_audit_entry(second: Second) -> None:
    control = second.folder(NAME) / "control"
    generations = {
        name: json.loads((control / "desired" / f"{name}.json").read_text())["generation"]
        for name in ("users", "release")
    }
    for name, newest in generations.items():
        audited = {int(file.stem.rpartition("-")[2]) for file in control.glob(f"audit/*/{name}-*")}
        assert audited == set(range(1, newest + 1)), name


def test_a_deploy_that_was_killed_before_is_started_at_login(second: Second) -> None:
    unit = second.account / "home" / ".config" / "systemd" / "user" / f"trackstack-{NAME}.service"
    assert unit.is_file()
    told = second.json("status", "-e", NAME)
    assert isinstance(told, dict)
    assert told["at_login"] is True


def test_the_users_of_one_environment_are_strangers_to_the_other(
    second: Second, server: Server, ada: str
) -> None:
    seen = {
        "bo at the first": server.status_for("bo", second.password()),
        "ada at the second": second.status_for(ADA, ada),
        "ada at the first": server.status_for(ADA, ada),
    }
    assert seen == {"bo at the first": 401, "ada at the second": 401, "ada at the first": 200}


@pytest.mark.usefixtures("second")
def test_a_command_that_does_not_say_which_of_two_is_asked_to(server: Server) -> None:
    done = server.run("status", ok=False)
    assert (done.returncode, "There are several environments" in done.stderr) == (2, True)


def test_another_port_and_more_workers_are_taken_up(second: Second) -> None:
    before, port = second.url, free_port()
    done = second.run("deploy", "local", "-e", NAME, "--port", str(port), "--workers", "2")
    assert "mlflow.workers  1 -> 2" in done.stderr
    assert second.url.endswith(f":{port}")
    assert second.status_for("bo", second.password()) == 200
    assert not _listens(before)


def _kill_once_the_machine_runs(server: Server, command: tuple[str, ...]) -> None:
    process = server.start(*command)
    assert eventually(lambda: bool(processes_in(server.machine(NAME)))), "no machine is started"
    process.kill()
    process.communicate()


def _interrupt(server: Server, command: tuple[str, ...]) -> tuple[int, str]:
    """Press Control-C while the deploy waits for MLflow, which is held back meanwhile."""
    assert eventually(lambda: _hold_mlflow_back(server), 60), "MLflow is not started"
    process = _begin(server, command)
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=180)[1]
    return process.returncode, told


def _hold_mlflow_back(server: Server) -> bool:
    """Stop what there is of MLflow; whether there was anything."""
    held = []
    for pid in server.pids(NAME)["mlflow"]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            held.append(pid)
    return bool(held)


def _cut_power_while_mlflow_starts(server: Server, command: tuple[str, ...]) -> None:
    process = _begin(server, command)
    process.kill()
    kill_all_in(server.machine(NAME))
    process.communicate()


def _begin(server: Server, command: tuple[str, ...]) -> "subprocess.Popen[str]":
    """Start a deploy; returns once it works on the environment."""
    process = server.start(*command)
    lock = server.folder(NAME) / "changing.lock"
    mine = f"process {process.pid},"
    assert eventually(lambda: mine in lock.read_text(), 60), "the deploy does not begin"
    return process


def _try_beside_another(server: Server, command: tuple[str, ...]) -> tuple[int, str]:
    """Deploy while another deploy is at work; then kill that one amid its verify."""
    first = server.start(*command)
    assert first.stderr is not None
    with ended_after(first):
        assert first.stderr.readline(), "the first deploy said nothing"
    refused = server.run(*command, ok=False)
    send_at(first, "a run is logged")
    return refused.returncode, refused.stderr


def _listens(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) == 0
