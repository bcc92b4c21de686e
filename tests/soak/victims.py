"""A deployed server's processes by what they do, and its kills by name."""

import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import httpx
import psutil

from kits import COMMAND, Kit, words_of
from trackstack.agent.processes import holder, strays
from trackstack.control.base import read
from trackstack.control.directory import DirectoryStore
from trackstack.desired import Observed, Release, observed_key


@dataclass(frozen=True)
class Server:
    """A deployed server, and who is let in: by name a password."""

    kit: Kit
    logins: dict[str, str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.kit.port}"

    def status(self, user: str, password: str) -> int:
        """What a question to MLflow's database is answered with; 0 for nothing."""
        try:
            return httpx.get(
                f"{self.url}/api/2.0/mlflow/experiments/search?max_results=1",
                auth=(user, password),
                trust_env=False,
                timeout=30,
            ).status_code
        except httpx.HTTPError:
            return 0

    def observed(self) -> Observed | None:
        return read(self._store, Observed, observed_key("local"))[0]

    def release(self) -> Release:
        wanted = read(self._store, Release)[0]
        assert wanted is not None
        return wanted

    def working_on(self, step: str, generation: int) -> bool:
        """Whether the agent is at a step of a release from a generation on."""
        report = self.observed()
        return (
            report is not None
            and report.seen.release >= generation
            and any((each.name, each.state) == (step, "running") for each in report.steps)
        )

    def supervisor(self) -> list[psutil.Process]:
        pid = holder(self.kit.machine())
        with suppress(psutil.NoSuchProcess):
            return [psutil.Process(pid)] if pid else []
        return []

    def agent(self) -> list[psutil.Process]:
        return [p for p in self._machine() if words_of(p)[-1:] == ["trackstack.agent"]]

    def mlflow(self) -> list[psutil.Process]:
        """The server, or the master of several workers; one for each service of MLflow's."""
        workers = self.mlflow_workers()
        return [p for p in self._mlflow() if p not in workers]

    def mlflow_of_the_release(self) -> list[psutil.Process]:
        """The one that the newest release asks for, from its first moment on."""
        name = self.release().mlflow
        _until(lambda: bool(self._called(name)))
        return self._called(name)

    def mlflow_workers(self) -> list[psutil.Process]:
        """What a server forked, while it starts too: they bear its arguments."""
        servers = self._mlflow()
        forked = []
        for process in servers:
            with suppress(psutil.Error):
                if process.parent() in servers:
                    forked.append(process)
        return forked

    def nginx(self) -> list[psutil.Process]:
        return self._called("nginx: master")

    def nginx_workers(self) -> list[psutil.Process]:
        return self._called("nginx: worker")

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start a command of the kit and leave it to the caller."""
        return subprocess.Popen(
            [COMMAND, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.kit.environment,
            cwd=self.kit.home.parent,
        )

    def leftovers(self) -> list[str]:
        """What runs twice, or without a supervisor above it."""
        found = []
        for name, those in (("agent", self.agent()), ("MLflow", self.mlflow()),
                            ("nginx", self.nginx())):  # fmt: skip
            if len(those) != 1:
                found.append(f"{len(those)} times {name}")
        above = self.supervisor()
        known = set(above)
        for supervisor in above:
            with suppress(psutil.Error):
                known.update(supervisor.children(recursive=True))
        for process in self._machine():
            words = words_of(process)
            if words and process not in known:
                found.append(f"an orphan: {' '.join(words)[:80]}")
        return found

    @property
    def _store(self) -> DirectoryStore:
        return DirectoryStore(self.kit.folder() / "control")

    def _mlflow(self) -> list[psutil.Process]:
        return [p for p in self._machine() if "--uvicorn-opts" in words_of(p)]

    def _called(self, text: str) -> list[psutil.Process]:
        """Those with a text in their command lines."""
        return [p for p in self._machine() if text in " ".join(words_of(p))]

    def _machine(self) -> list[psutil.Process]:
        return [p for p in strays(self.kit.machine().resolve()) if words_of(p)]


def kill(processes: list[psutil.Process]) -> int:
    """End processes as kill -9 does; returns how many there were."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=10)
    return len(processes)


def during_rotation(server: Server, victims: Callable[[], list[psutil.Process]]) -> list[str]:
    """Rotate bob's password and kill amid it; afterwards exactly one password opens.

    Returns:
        What is wrong.
    """
    file = server.kit.folder() / "control" / "desired" / "users.json"
    before, old = file.read_bytes(), server.logins["bob"]
    command = server.start("users", "rotate", "bob", "--show-passwords", "--json")
    _until(lambda: file.read_bytes() != before or command.poll() is not None)
    kill(victims())
    told, failed = command.communicate(timeout=120)
    if command.returncode == 0:
        new = told.partition('"password": "')[2].partition('"')[0]
        server.logins["bob"] = new
        _until(lambda: server.status("bob", new) == 200)
        seen = server.status("bob", new), server.status("bob", old)
        return [] if seen == (200, 401) else [f"after a rotation, new and old password get {seen}"]
    # Killed before the write, or not heard of it: one more rotation tells.
    again = server.kit.run("users", "rotate", "bob", "--show-passwords", "--json")
    server.logins["bob"] = again.stdout.partition('"password": "')[2].partition('"')[0]
    seen = server.status("bob", server.logins["bob"]), server.status("bob", old)
    return [] if seen == (200, 401) else [f"after a failed rotation ({failed}), they get {seen}"]


def during_release(
    server: Server, victims: Callable[[], list[psutil.Process]], *change: str
) -> list[str]:
    """Deploy a change and kill while the new MLflow starts; it is taken up after all.

    Returns:
        What is wrong.
    """
    generation = server.release().generation
    command = server.start("deploy", "local", *change)
    _until(lambda: server.working_on("mlflow", generation + 1) or command.poll() is not None)
    kill(victims())
    _, failed = command.communicate(timeout=300)
    if command.returncode not in (0, 1, 3):
        return [f"a deploy amid a kill ended with {command.returncode}: {failed}"]
    if command.returncode != 0:
        again = server.kit.run("deploy", "local", ok=False)
        if again.returncode != 0:
            return [f"a deploy after a kill ended with {again.returncode}: {again.stderr}"]
    return []


def _until(condition: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "what was waited for never came"
        time.sleep(0.01)


def settled(server: Server, seconds: float) -> list[str]:
    """Wait until everything runs once and answers; returns what does not when time is up."""
    until = time.monotonic() + seconds
    while True:
        wrong = server.leftovers()
        name, password = next(iter(server.logins.items()))
        if not wrong and server.status(name, password) == 200:
            return []
        if time.monotonic() > until:
            return wrong or [f"{name} cannot read"]
        time.sleep(0.1)
