"""A deployed server that tests share, its users, and an MLflow client that talks to it."""

import hashlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pexpect
import psutil

from kits import CACHE, COMMAND, Kit, seed_packages, words_of

AWKWARD = 'it\'s a "wide" über-long; $HOME & 東京 {home} \\n'
"""A folder name with all that shells, supervisor and nginx might trip over."""

OWNER = "olga"
ADA = "ada@example.com"
"""A user that no test changes."""


@dataclass(frozen=True)
class Server(Kit):
    """A deployed kit; HOME and TMPDIR of its commands are folders of its own.

    Attributes:
        account: holds the folders home and tmp.
    """

    account: Path

    @property
    def environment(self) -> dict[str, str]:
        folders = {"HOME": self.account / "home", "TMPDIR": self.account / "tmp"}
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        inherited = {k: v for k, v in super().environment.items() if k != "XDG_CONFIG_HOME"}
        return {**inherited, **{key: str(value) for key, value in folders.items()}}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        return self.machine() / "data"

    def json(self, *arguments: str | Path) -> object:
        """What a command prints with --json."""
        return json.loads(self.run(*arguments, "--json").stdout)

    def start(self, *arguments: str | Path, **more: str) -> "subprocess.Popen[str]":
        """Start the command and leave it to the test, which reads what it says."""
        return subprocess.Popen(
            [COMMAND, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**self.environment, **more},
            cwd=self.home.parent,
            start_new_session=True,
        )

    def at_terminal(self, *arguments: str | Path) -> "pexpect.spawn[str]":
        """Run the command on a pseudo-terminal."""
        return self.spawn(str(COMMAND), *map(str, arguments))

    def spawn(self, program: str, *arguments: str) -> "pexpect.spawn[str]":
        """Run any program on a pseudo-terminal."""
        return pexpect.spawn(
            program,
            list(arguments),
            env={**self.environment, "TERM": "xterm"},
            cwd=str(self.home.parent),
            encoding="utf-8",
            timeout=400,
            dimensions=(50, 400),
        )

    def let_in(self, name: str, *arguments: str) -> str:
        """Add a user by the command and return the password."""
        made = self.json("users", "add", name, "--show-passwords", *arguments)
        assert isinstance(made, list)
        return str(made[0]["password"])

    def owner_password(self) -> str:
        """The owner's password, as `trackstack env` tells it."""
        printed = self.json("env", OWNER)
        assert isinstance(printed, dict)
        return str(printed["MLFLOW_TRACKING_PASSWORD"])

    def status_for(self, user: str, password: str) -> int:
        """What one request of a user is answered with."""
        answer = httpx.get(f"{self.url}/version", auth=(user, password), trust_env=False)
        return answer.status_code

    def api(self, user: str, password: str) -> httpx.Client:
        """MLflow's REST API as a user."""
        return httpx.Client(
            base_url=f"{self.url}/api/2.0/mlflow/",
            auth=(user, password),
            trust_env=False,
            timeout=60,
        )

    def pids(self, name: str = "local") -> dict[str, list[int]]:
        """The process ids of MLflow and nginx of an environment."""
        found: dict[str, list[int]] = {"mlflow": [], "nginx": []}
        for process in processes_in(self.machine(name)):
            line = " ".join(words_of(process))
            for service, pids in found.items():
                if service in line:
                    pids.append(process.pid)
        return {service: sorted(pids) for service, pids in found.items()}

    def agent(self) -> psutil.Process:
        """The agent's process, and none that it forks, which bears its name for a moment."""
        found = [
            p for p in processes_in(self.machine()) if words_of(p)[-1:] == ["trackstack.agent"]
        ]
        assert found, "no agent runs"
        return min(found, key=lambda each: each.create_time())

    def packages(self) -> Path:
        """The server's own packages, where a client finds MLflow and scikit-learn."""
        (folder,) = (self.machine() / "packages").iterdir()
        version = ".".join(str(part) for part in sys.version_info[:3])
        # In the place that all tests share, they are compiled already.
        return Path(CACHE / f"packages-{folder.name}-{version}")

    def client(
        self, *command: str | Path, folder: Path, ok: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command as an MLflow user would: with what `trackstack env` printed, no more.

        Args:
            command: what to run; `python` is the one with MLflow.
            folder: where it works, its HOME and TMPDIR.
        """
        done = subprocess.run(
            self._client_command(*command),
            env=self._client_environment(folder),
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert not ok or done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
        return done

    def start_client(self, *command: str | Path, folder: Path) -> "subprocess.Popen[bytes]":
        """Like client, but leave it running; its output goes to a file in the folder."""
        with (folder / "output.txt").open("wb") as output:
            return subprocess.Popen(
                self._client_command(*command),
                env=self._client_environment(folder),
                cwd=folder,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _client_command(self, *command: str | Path) -> list[str]:
        printed = self.run("env").stdout
        return ["bash", "-c", 'eval "$1"; shift; exec "$@"', "bash", printed, *map(str, command)]

    def _client_environment(self, folder: Path) -> dict[str, str]:
        # The scripts of the shared packages name a folder that is gone: what MLflow starts by
        # name gets a new one.
        programs = folder / "bin"
        programs.mkdir(exist_ok=True)
        python = self.packages() / "bin" / "python"
        uvicorn = programs / "uvicorn"
        uvicorn.write_text(f'#!/bin/sh\nexec "{python}" -m uvicorn "$@"\n')
        uvicorn.chmod(0o700)
        return {
            "PATH": f"{programs}:{python.parent}:/usr/bin:/bin",
            "HOME": str(folder),
            "TMPDIR": str(folder),
        }


def deploy_on_terminal(base: Path, port: int) -> tuple[Server, str]:
    """Deploy a server on a pseudo-terminal; returns it and all that the terminal showed."""
    home = base / AWKWARD
    # Longer than the path of a unix socket may be, twice over.
    home /= "long-" * (1 + (220 - len(str(home))) // 5)
    server = Server(home, port, base / "account")
    server.machine().mkdir(parents=True)
    seed_packages(server.machine())
    terminal = server.at_terminal(
        *("deploy", "local", "--port", str(port), "--workers", "1", "--user", OWNER)
    )
    shown = str(terminal.read())
    terminal.close()
    assert terminal.exitstatus == 0, f"the deploy ended with {terminal.exitstatus}:\n{shown}"
    return server, shown


def processes_in(folder: Path) -> list[psutil.Process]:
    """Every process that works in a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd().startswith(str(folder.resolve())):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def kill_all_in(folder: Path) -> None:
    """End every process that works in a folder, as a power cut would."""
    left = processes_in(folder)
    while left:
        for process in left:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(left, timeout=10)
        left = processes_in(folder)


def send_at(
    process: "subprocess.Popen[str]", marker: str, sent: signal.Signals = signal.SIGKILL
) -> str:
    """Wait until a command says something on standard error, then send it a signal.

    Returns:
        All that it said, before and after.
    """
    assert process.stderr is not None
    told = ""
    with ended_after(process):
        for line in process.stderr:
            told += line
            if marker in line:
                os.kill(process.pid, sent)
                break
        else:
            process.communicate()
            raise AssertionError(f"the command ended without saying {marker!r}:\n{told}")
    told += process.communicate(timeout=60)[1]
    return told


@contextmanager
def ended_after(process: "subprocess.Popen[str]", seconds: float = 120) -> Iterator[None]:
    """End a command that falls silent, so that whoever reads it is not kept for ever."""
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def all_rows(database: Path) -> dict[str, list[str]]:
    """Every row of every table of a database."""
    with sqlite3.connect(f"file:{_quoted(database)}?mode=ro", uri=True) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        rows = {
            name: sorted(map(repr, connection.execute(f'SELECT * FROM "{name}"')))  # noqa: S608
            for (name,) in tables.fetchall()
        }
    connection.close()
    return rows


def all_in(folder: Path) -> list[Path]:
    """Every file and folder below one that others work in.

    Unlike rglob of Python 3.11 it does not fail where one goes meanwhile.
    """
    return [
        Path(place, name)
        for place, folders, files in os.walk(folder)
        for name in (*folders, *files)
    ]


def all_files(folder: Path, *but: str) -> dict[str, str | None]:
    """Every file below a folder with the hash of its content, and every folder.

    Args:
        but: beginnings of paths that do not count.
    """
    return {
        path: hashlib.sha256(entry.read_bytes()).hexdigest() if entry.is_file() else None
        for entry in sorted(all_in(folder))
        if not (path := str(entry.relative_to(folder))).startswith(but)
    }


def passwords_in(text: str) -> list[str]:
    """What looks like a password the kit made."""
    return re.findall(r"(?<![A-Za-z0-9])[2-9A-HJ-NP-Za-km-z]{24}(?![A-Za-z0-9])", text)


def _quoted(path: Path) -> str:
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
