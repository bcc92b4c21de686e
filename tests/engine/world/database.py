"""A managed PostgreSQL: a real one, behind TLS, whose master is not the superuser."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from secrets import token_urlsafe

import pytest

from engine.world.network import OWNER

_START_SECONDS = 30.0
_OWNER = "rdsadmin"


class ManagedDatabase:
    """One server.

    Attributes:
        address: of this computer, at which it listens.
        port: likewise.
        programs: the folder of PostgreSQL's programs.
        master: the role that the cloud's user logs in as.
        password: the master's, at the moment.
    """

    def __init__(self, address: str, clients: str, master: str, port: int = 5432) -> None:
        self.address = address
        self.port = port
        self.password = token_urlsafe(24)
        self._clients = clients
        self.master = master
        self.programs = _programs()
        # Below /tmp: its account may not enter the folders of pytest, and a socket's path is short.
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))
        self._server: subprocess.Popen[bytes] | None = None

    def make(self, name: str) -> None:
        """A new cluster with an empty database."""
        self._own()
        self._run(
            *("initdb", "--pgdata", self._data, "--username", _OWNER, "--no-sync"),
            *("--auth-local", "trust", "--encoding", "UTF8"),
        )
        self._start()
        self.sql(f"CREATE ROLE {self.master} LOGIN CREATEROLE CREATEDB")
        self.set_password(self.password)
        self.sql(f'CREATE DATABASE "{name}" OWNER {self.master}')

    def restore(self, snapshot: Path) -> None:
        """A cluster as it was; its master gets a new password, as RDS gives one."""
        shutil.copytree(snapshot, self._data)
        self._own()
        self._start()
        self.set_password(self.password)

    def set_password(self, password: str) -> None:
        """Give the master another password; who is connected stays so."""
        self.sql(f"ALTER ROLE {self.master} PASSWORD '{password}'")
        self.password = password

    def sql(self, text: str, database: str = "postgres") -> str:
        """Run a statement as the cloud itself; returns the rows, one a line."""
        place = ("-h", self._folder, "-p", str(self.port), "-U", _OWNER, "-d", database)
        return self._run("psql", *place, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", say=text)

    def stop(self) -> None:
        """End it; what it holds stays."""
        if self._server is not None:
            self._server.send_signal(signal.SIGINT)
            self._server.wait(30)
            self._server = None

    def start(self) -> None:
        """Let it answer again, when it was stopped."""
        if self._server is None:
            self._start()

    def remove(self, snapshot: Path | None = None) -> None:
        """End it; what it held goes to the snapshot's folder, or away."""
        self.stop()
        if snapshot is not None and self._data.is_dir():
            shutil.move(self._data, snapshot)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        certificate = ("-subj", "/CN=rds", "-keyout", "server.key", "-out", "server.crt")
        self._command("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *certificate)
        # From the network only with TLS, and only from machines.
        (self._data / "pg_hba.conf").write_text(
            f"local all all trust\nhostssl all all {self._clients} scram-sha-256\n"
        )
        settings = {
            "listen_addresses": self.address,
            "port": self.port,
            "unix_socket_directories": self._folder,
            "ssl": "on",
            "ssl_cert_file": self._folder / "server.crt",
            "ssl_key_file": self._folder / "server.key",
            "fsync": "off",
        }
        flags = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [self.programs / "postgres", "-D", self._data, *flags],
                stdout=log,
                stderr=log,
                user="postgres",
                cwd=self._folder,
                env=_environment(),
                start_new_session=True,
            )
        until = time.monotonic() + _START_SECONDS
        ready = [self.programs / "pg_isready", "--quiet", "-h", self._folder, "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode != 0:
            text = (self._folder / "log").read_text()
            assert time.monotonic() < until, f"PostgreSQL does not start:\n{text}"
            time.sleep(0.05)

    def _own(self) -> None:
        shutil.chown(self._folder, "postgres")
        for path in self._folder.rglob("*"):
            shutil.chown(path, "postgres")

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _run(self, program: str, *arguments: str | Path, say: str = "") -> str:
        return self._command(self.programs / program, *arguments, say=say)

    def _command(self, *command: str | Path, say: str = "") -> str:
        done = subprocess.run(
            command,
            input=say,
            capture_output=True,
            text=True,
            user="postgres",
            cwd=self._folder,
            env=_environment(),
            check=False,
        )
        told = f"{command[0]} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        assert done.returncode == 0, told
        return done.stdout.strip()


def _environment() -> Mapping[str, str]:
    owner = {OWNER: os.environ[OWNER]} if OWNER in os.environ else {}
    return {"PATH": os.defpath, "LC_ALL": "C.UTF-8", **owner}


def _programs() -> Path:
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    if not places:
        pytest.skip("PostgreSQL is not installed (Debian's package postgresql)")
    return places[-1]
