"""The agent is killed while it makes MLflow's role in a database; the next round ends right.

With a real PostgreSQL whose first user is no superuser, as a cloud's.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from boxes import Outcome

from engine.world.database import ManagedDatabase
from engine.world.ready import DRIVERS, seed
from kits import eventually, free_port
from trackstack.agent import folders
from trackstack.agent.ensure_stores import parse
from trackstack.desired import ManagedDatabase as Wanted
from trackstack.lock import DEFAULT_MLFLOW, for_mlflow
from unit.making import release

HERE = Path(__file__).parent
MASTER, ROLE, NAME = "first", "mlflow", "mlflow"
ORDER, GO, PID = "order.json", "go", "program.pid"
OWNER = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
STATEMENTS = 7
"""Of a first time: role looked for and made, granted; database looked for, made, given; schema."""

# In the place of the release's Python: the same, with psycopg's statements watched. Killed are the
# agent that waits for it, and itself, or it outlives its agent and goes on later.
PYTHON = f"""#!{{python}}
import json, os, pathlib, signal, sys
import psycopg
order = json.loads(pathlib.Path("{ORDER}").read_text())
pathlib.Path("{PID}").write_text(str(os.getpid()))
count, execute = 0, psycopg.Connection.execute

def point():
    global count
    count += 1
    if count == order["statement"]:
        for whom in order["killed"]:
            os.kill({{{{"agent": os.getppid(), "program": os.getpid()}}}}[whom], signal.SIGKILL)
        pathlib.Path("{GO}").read_text()

def watched(self, *statement):
    point()
    return execute(self, *statement)

psycopg.Connection.execute = watched
exec(sys.argv[3])
point()
"""


@dataclass
class Machine:
    """A machine's folder, and the database that its release wants."""

    folder: Path
    server: ManagedDatabase
    driver: "subprocess.Popen[str]"

    def round(self, at: int = 0, statement: int = 0, killed: tuple[str, ...] = ()) -> Outcome:
        """Run the step; kill it before an effect, or somebody before a statement."""
        (self.folder / ORDER).write_text(json.dumps({"statement": statement, "killed": killed}))
        assert self.driver.stdin is not None
        assert self.driver.stdout is not None
        self.driver.stdin.write(json.dumps({"step": "database", "at": at}) + "\n")
        self.driver.stdin.flush()
        return Outcome(**json.loads(self.driver.stdout.readline()))

    def program(self) -> int:
        """The process that the last round had started."""
        return int((self.folder / PID).read_text())

    def said(self) -> str:
        """The end of what rounds said of their failures."""
        return (self.folder / "driver.txt").read_text()[-2000:]

    def let_go(self, pid: int) -> None:
        """Let a program that lost its agent go on, and wait for its end."""
        program = psutil.Process(pid)
        assert eventually(self._went), "nobody waits to go on"
        with suppress(psutil.NoSuchProcess):
            program.wait(30)

    def _went(self) -> bool:
        try:
            os.close(os.open(self.folder / GO, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            return False
        return True

    def make_fresh(self) -> None:
        """Nothing was made yet."""
        (self.folder / folders.STORES).unlink(missing_ok=True)
        for text in (f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)", f"DROP ROLE IF EXISTS {ROLE}"):
            self.server.sql(text)

    def faults(self) -> list[str]:
        """All that is not as it must be when the step has ended well."""
        file = self.folder / folders.STORES
        known = parse(file.read_text())
        owner = self.server.sql(OWNER, NAME)
        place = f"host={self.server.address} port={self.server.port} sslmode=require"
        tried = subprocess.run(
            [self.server.programs / "psql", "-X", "-q", f"{place} user={ROLE} dbname={NAME}"],
            input="\\set ON_ERROR_STOP on\nCREATE TABLE runs (id int); DROP TABLE runs;",
            env={"PGPASSWORD": known.get("PGPASSWORD", "")},
            capture_output=True,
            text=True,
            check=False,
        )
        again = self.round()
        found = {
            f"MLflow is not let in: {tried.stderr}": tried.returncode != 0,
            f"the database is {owner}'s": owner != ROLE,
            f"it was made for another database: {known.get('TRACKSTACK_DATABASE')}": (
                known.get("TRACKSTACK_DATABASE") != self.server.address
            ),
            f"others may read the password: {file.stat().st_mode:o}": file.stat().st_mode & 0o77,
            f"another round does something: {again}": again.effects != ["begin", "end"],
        }
        return [fault for fault, is_so in found.items() if is_so]


@contextmanager
def managed_database() -> Iterator[ManagedDatabase]:
    if os.getuid() != 0:
        pytest.skip("PostgreSQL behind TLS is started as its own user, which only root can")
    server = ManagedDatabase("127.0.0.1", "127.0.0.1/32", MASTER, free_port())
    try:
        server.make("empty")
        yield server
    finally:
        server.remove()


@contextmanager
def driver(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """What runs the rounds; it ends with its input."""
    with (folder / "driver.txt").open("w") as log:
        program = subprocess.Popen(
            [sys.executable, HERE / "database_driver.py", "release.json", MASTER, "its password"],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "PYTHONPATH": str(HERE.parent)},
        )
    with program:
        yield program
    # Of a test that failed before it let go.
    for each in psutil.process_iter():
        with suppress(psutil.Error):
            if each.cwd() == str(folder):
                each.kill()


def watch_statements(packages: Path) -> None:
    """Put what kills in the place of a release's Python."""
    python, real = packages / "bin" / "python", packages / "bin" / "real"
    real.symlink_to(python.readlink())
    python.unlink()
    python.write_text(PYTHON.format(python=real))
    python.chmod(0o700)


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with managed_database() as server, tempfile.TemporaryDirectory(dir="/tmp") as name:
        seed(Path(name), "aws")
        folder = Path(name) / "machine"
        (packages,) = (folder / folders.PACKAGES).iterdir()
        watch_statements(packages)
        (folder / folders.DATA).mkdir()
        os.mkfifo(folder / GO)
        place = {"host": server.address, "port": server.port, "role": ROLE, "name": NAME}
        lock = for_mlflow(DEFAULT_MLFLOW, DRIVERS["aws"])
        wanted = release().model_copy(
            update={"packages": lock, "database": Wanted(secret="the cloud's", **place)}
        )
        assert wanted.packages_id == packages.name
        (folder / "release.json").write_bytes(wanted.to_bytes())
        server.set_password("its password")
        with driver(folder) as program:
            yield Machine(folder, server, program)


def test_a_kill_of_the_agent_at_any_effect_ends_right_in_the_next_round(machine: Machine) -> None:
    at = 0
    while True:
        at += 1
        machine.make_fresh()
        killed = machine.round(at)
        if not killed.killed:
            break
        assert machine.round().healthy, f"killed before {killed.effects[-1]!r}: {machine.said()}"
        assert machine.faults() == [], f"killed before {killed.effects[-1]!r}"
    assert at > 6, f"the step was hardly begun: {killed.effects}"


@pytest.mark.parametrize("victims", [("agent",), ("agent", "program")], ids="+".join)
def test_a_kill_at_any_statement_ends_right_in_the_next_round(
    machine: Machine, victims: tuple[str, ...]
) -> None:
    for statement in range(1, STATEMENTS + 2):
        machine.make_fresh()
        killed = machine.round(statement=statement, killed=victims)
        assert killed.killed, f"there is no statement {statement}: {machine.said()}"
        program = machine.program()
        assert machine.round().healthy, f"killed before statement {statement}: {machine.said()}"
        if "program" not in victims:
            machine.let_go(program)
        assert machine.faults() == [], f"killed before statement {statement}"
    machine.make_fresh()
    assert machine.round(statement=STATEMENTS + 2, killed=victims).healthy, (
        f"there are more than {STATEMENTS} statements"
    )
