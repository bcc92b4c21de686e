"""The same with the real MLflow and the real command: changes, kills and failures under load."""

import base64
import http.client
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import psutil
import pytest
from boxes import bystander

from kits import COMMAND, Kit, running_kit
from trackstack.agent.processes import holder
from trackstack.control.base import read
from trackstack.control.directory import DirectoryStore
from trackstack.desired import Observed, Release, observed_key

DEADLINE_SECONDS = 240.0  # a start of MLflow takes ten on two idle cores


@dataclass(frozen=True)
class Server:
    """A deployed environment and ada's password."""

    kit: Kit
    password: str

    def ask(self) -> int:
        """The status of a question that MLflow answers from its database; 0 for no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.kit.port, timeout=30)
        login = base64.b64encode(f"ada:{self.password}".encode()).decode()
        try:
            connection.request(
                "POST",
                "/api/2.0/mlflow/experiments/search",
                body='{"max_results": 1}',
                headers={"Authorization": f"Basic {login}", "Content-Type": "application/json"},
            )
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            return 0
        else:
            return answer.status
        finally:
            connection.close()

    def other_workers(self) -> str:
        """A number of workers that the server does not have now."""
        release = read(self._store, Release)[0]
        assert release is not None
        has_one = any("--workers 1 " in file.content for file in release.files)
        return "2" if has_one else "1"

    def observed(self) -> Observed | None:
        return read(self._store, Observed, observed_key("local"))[0]

    def wait_for_step(self, name: str, state: str) -> None:
        """Wait until the agent reports a step in that state."""
        until = time.monotonic() + DEADLINE_SECONDS
        while True:
            report = self.observed()
            if report and any((s.name, s.state) == (name, state) for s in report.steps):
                return
            assert time.monotonic() < until, f"step {name} was never {state}: {report}"
            time.sleep(0.02)

    def processes(self, *words: str) -> list[psutil.Process]:
        """Those of the machine whose arguments hold these words."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                inside = process.cwd() == str(self.kit.machine().resolve())
                if inside and set(words) <= set(process.cmdline()):
                    found.append(process)
        return found

    def services(self) -> set[str]:
        """The MLflow services that run; a service's workers say the same of themselves."""
        return {
            word
            for process in self.processes("--uvicorn-opts")
            for argument in process.cmdline()
            for word in argument.split()
            if word.startswith("run/mlflow-")
        }

    @property
    def _store(self) -> DirectoryStore:
        return DirectoryStore(self.kit.folder() / "control")


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests."""
    home = tmp_path_factory.mktemp("real") / "home"
    with running_kit(home) as kit:
        passwords = home.parent / "passwords"
        home.mkdir(mode=0o700)
        kit.deploy("--user", "ada", "--workers", "1", "--password-file", passwords)
        yield Server(kit, passwords.read_text().strip().partition(":")[2])


@pytest.fixture
def server(deployed: Server) -> Server:
    """That server, well and up."""
    deployed.kit.deploy()
    return deployed


def test_an_agent_killed_during_a_change_ends_it_after_all(server: Server) -> None:
    (agent,) = server.processes("trackstack.agent")
    command = [COMMAND, "deploy", "local", "--workers", server.other_workers()]
    with (
        bystander(server.ask) as statuses,
        subprocess.Popen(
            command, env=server.kit.environment, stderr=subprocess.PIPE, text=True
        ) as deploy,
    ):
        server.wait_for_step("mlflow", "running")
        agent.kill()
        _, told = deploy.communicate(timeout=DEADLINE_SECONDS)
    assert deploy.returncode == 0, told
    assert set(statuses) == {200}
    assert len(server.services()) == 1
    assert server.processes("trackstack.agent") != [agent]


def test_a_failed_deploy_ends_with_3_shows_why_and_can_be_mended(server: Server) -> None:
    package = next(server.kit.machine().glob("packages/*/lib/python*/site-packages/mlflow/server"))
    away = package.with_name("server-away")
    before = server.services()
    wanted = server.other_workers()
    with bystander(server.ask) as statuses:
        package.rename(away)
        try:
            failed = server.kit.run("deploy", "local", "--workers", wanted, ok=False)
        finally:
            away.rename(package)
    assert failed.returncode == 3, failed.stderr
    assert "The machine's step 'mlflow' failed: MLflow does not come up." in failed.stderr
    assert "No module named" in failed.stderr, "the output of what failed is not shown"
    assert set(statuses) == {200}, "what served before did not go on serving"
    assert server.services() == before
    with bystander(server.ask) as statuses:
        server.kit.deploy("--workers", wanted)
    assert set(statuses) == {200}, "the change that was mended failed somebody's request"
    assert len(server.services()) == 1
    assert server.services() != before


def test_after_a_kill_of_the_supervisor_the_next_deploy_serves_again(server: Server) -> None:
    pid = int((server.kit.machine() / "run" / "supervisor.pid").read_text())
    left = server.processes()
    psutil.Process(pid).send_signal(signal.SIGKILL)
    told = server.kit.deploy()
    assert server.ask() == 200, told.stderr
    assert len(server.services()) == 1
    _, alive = psutil.wait_procs(left, timeout=0)
    # The agent takes its place, when it looks before the deploy does.
    alive = [process for process in alive if process.pid != holder(server.kit.machine())]
    assert alive == [], "processes of the killed supervisor are left"
