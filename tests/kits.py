"""What every layer of the tests shares: a home of its own, a port of its own, the command."""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from tempfile import TemporaryDirectory

import psutil

from trackstack import lock
from trackstack.desired import content_id

CACHE = Path(os.environ.get("TRACKSTACK_TEST_CACHE", Path(__file__).parent.parent / ".cache"))
COMMAND = Path(sys.executable).parent / "trackstack"
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PORTS = range(10_000 + _WORKER % 8, 32_000, 8)
"""Below those that the system gives to outgoing connections, and no other worker's: nobody takes
one between the look and the server's start."""
_given: deque[int] = deque(maxlen=500)
"""Ports that were handed out lately: their servers may not have begun to listen."""


@dataclass(frozen=True)
class Kit:
    """The installed command with a home folder of its own.

    Attributes:
        home: TRACKSTACK_HOME.
        port: one that was free when the test began.
    """

    home: Path
    port: int

    @property
    def environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "CI"))}
        return {
            **inherited,
            "TRACKSTACK_HOME": str(self.home),
            "UV_CACHE_DIR": str(CACHE / "uv"),
            "NO_COLOR": "1",
        }

    @property
    def command(self) -> list[str]:
        """How the command is called."""
        return [str(COMMAND)]

    def run(
        self, *arguments: str | Path, ok: bool = True, timeout: float = 300, **more: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run the command without a terminal; with `ok`, it must end with 0."""
        done = subprocess.run(
            [*self.command, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**self.environment, **more},
            cwd=self.home.parent,
            start_new_session=True,
            check=False,
        )
        told = f"trackstack {' '.join(map(str, arguments))} ended with {done.returncode}"
        assert not ok or done.returncode == 0, f"{told}:\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, f"{told} and showed a trace:\n{done.stderr}"
        return done

    def folder(self, name: str = "local") -> Path:
        """The folder of an environment."""
        return self.home / "environments" / name

    def machine(self, name: str = "local") -> Path:
        """The folder of an environment's machine."""
        return self.folder(name) / "machine"

    def deploy(self, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        """Deploy on the test's own port, with packages that are installed already."""
        self.machine().mkdir(parents=True, exist_ok=True)
        if not (self.machine() / "packages").exists():
            seed_packages(self.machine())
        return self.run("deploy", "local", "--port", str(self.port), *arguments)

    def processes(self) -> list[psutil.Process]:
        """Every process that works in this home."""
        return [
            p for p in psutil.process_iter() if p.pid != os.getpid() and _works_in(p, self.home)
        ]


@contextmanager
def running_kit(home: Path) -> Iterator[Kit]:
    """A kit whose processes and folder are gone afterwards."""
    made = Kit(home, free_port())
    try:
        yield made
    finally:
        for process in made.processes():
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(made.processes(), timeout=10)
        shutil.rmtree(home, ignore_errors=True)


def eventually(condition: Callable[[], bool], seconds: float = 30) -> bool:
    """Look until a condition holds; False when time is up.

    A look that takes long, such as a command, leaves as much time to what it looks at.
    """
    until = time.monotonic() + seconds
    while (began := time.monotonic()) < until:
        if condition():
            return True
        time.sleep(max(0.05, time.monotonic() - began))
    return condition()


def free_port() -> int:
    """A port that the system says is free, and that nobody here was just given."""
    while True:
        port = SystemRandom().choice(_PORTS)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.append(port)
        return port


def words_of(process: psutil.Process) -> list[str]:
    """What a process was called with; nothing when it is gone, as it may be at any moment."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def variables_of(process: psutil.Process) -> dict[str, str]:
    """The environment of a process; nothing when it is gone, as it may be at any moment."""
    try:
        return process.environ()
    except psutil.Error:
        return {}


def content_of(file: Path) -> bytes:
    """What a file holds; nothing when it is gone, as it may be at any moment."""
    try:
        return file.read_bytes()
    except OSError:
        return b""


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """A file or folder of the cache, named with its version; whoever comes first makes it.

    Args:
        make: is given the place to make it at; others see it when it is whole.
    """
    ready = CACHE / name
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not ready.exists():
            with TemporaryDirectory(prefix="new-", dir=CACHE) as new:
                make(Path(new, "made"))
                Path(new, "made").rename(ready)
    return ready


def seed_packages(machine: Path) -> None:
    """Give a machine the server's packages as hard links, so that a test need not install them.

    They are made once per lock by the agent's own step, in a deploy of their own.
    """
    name = content_id(lock.for_mlflow(lock.DEFAULT_MLFLOW))

    def make(folder: Path) -> None:
        with running_kit(folder.with_name("home")) as maker:
            maker.run("deploy", "local", "--port", str(maker.port))
            maker.run("destroy", "--yes")
            (maker.machine() / "packages" / name).rename(folder)

    version = f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    ready = made_once(f"packages-{name}-{version}", make)
    (machine / "packages").mkdir(parents=True)
    subprocess.run(["cp", "-al", ready, machine / "packages" / name], check=True)


def _works_in(process: psutil.Process, home: Path) -> bool:
    try:
        marks: Sequence[str] = (process.cwd(), process.environ().get("TRACKSTACK_HOME", ""))
    except (psutil.Error, OSError):
        return False
    return any(mark.startswith(str(home.resolve())) for mark in marks if mark)
