"""A PostgreSQL of a test's own: as its own user, in a folder of its own, gone afterwards."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kits import eventually, free_port

ROLE = "mlflow"
PASSWORD = "p@ss:w/o%r'd\"$HOME #1"
"""Of every character that shells, addresses and files of variables take for something else."""


@dataclass
class Postgres:
    """A database server; `start` and `stop` may be called again and again."""

    folder: Path
    port: int
    programs: Path
    account: str | None
    _server: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    def address(self, name: str) -> str:
        """The address of a database, as a person writes it."""
        return f"postgresql://{ROLE}@127.0.0.1:{self.port}/{name}"

    def make(self) -> None:
        """Make the cluster, and the role that MLflow logs in as."""
        self._run(
            *("initdb", "--pgdata", self.folder / "data", "--username", "postgres", "--no-sync"),
            *("--auth-local", "trust", "--auth-host", "scram-sha-256", "--encoding", "UTF8"),
        )
        self.start()
        quoted = PASSWORD.replace("'", "''")
        self.sql(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{quoted}'")

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "fsync": "off",
        }
        flags = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [self.programs / "postgres", "-D", self.folder / "data", *flags],
                stdout=log,
                stderr=log,
                user=self.account,
                cwd=self.folder,
                start_new_session=True,
            )
        ready = [self.programs / "pg_isready", "--quiet", "-h", self.folder, "-p", str(self.port)]
        up = eventually(lambda: subprocess.run(ready, check=False).returncode == 0)
        assert up, f"PostgreSQL does not start:\n{(self.folder / 'log').read_text()}"

    def stop(self) -> None:
        """End it, and every connection to it."""
        if self._server is not None:
            self._server.send_signal(signal.SIGINT)
            self._server.wait(30)
            self._server = None

    def sql(self, text: str, database: str = "postgres") -> str:
        """Run a statement as the administrator; returns the rows, one a line."""
        place = ("-h", self.folder, "-p", str(self.port), "-U", "postgres", "-d", database)
        return self._run("psql", *place, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", say=text)

    def _run(self, program: str, *arguments: str | Path, say: str = "") -> str:
        done = subprocess.run(
            [self.programs / program, *arguments],
            input=say,
            capture_output=True,
            text=True,
            user=self.account,
            cwd=self.folder,
            check=False,
        )
        assert done.returncode == 0, f"{program} failed:\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A database server; the test is skipped where PostgreSQL is not installed."""
    account = "postgres" if os.getuid() == 0 else None
    # Below /tmp: its account may not enter the folders of pytest, and a socket's path is short.
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))
    made = Postgres(folder, free_port(), _programs(), account)
    try:
        if account:
            shutil.chown(folder, account)
        made.make()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)


def _programs() -> Path:
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    on_path = shutil.which("initdb")
    places += [Path(on_path).resolve().parent] if on_path else []
    if not places:
        pytest.skip("PostgreSQL is not installed (Debian's package postgresql)")
    return places[-1]
