"""Runs in a PostgreSQL: its password shows nowhere, and a database that fails harms nothing."""

import json
import shlex
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
from alone import Alone, a_server
from postgres import PASSWORD, ROLE, Postgres, running_postgres
from servers import ADA, OWNER, all_files, all_in

from kits import content_of, eventually, free_port
from trackstack.lock import POSTGRESQL_DRIVER

SPELLED = [
    PASSWORD,
    shlex.quote(PASSWORD),
    quote(PASSWORD, safe=""),
    json.dumps(PASSWORD)[1:-1],
    repr(PASSWORD)[1:-1],
]
"""The password as shells, addresses and programs would spell it."""


@dataclass(frozen=True)
class Kept(Alone):
    """A server whose runs are in a PostgreSQL.

    Attributes:
        postgres: where they are.
        said: by the deploy.
        lines: the command line of every process that was there while it was deployed.
    """

    postgres: Postgres
    said: list[str]
    lines: set[str]

    def move(self, database: str, ok: bool = True, password: str = PASSWORD) -> tuple[int, str]:
        """Deploy with another database; returns exit code and words."""
        address = self.postgres.address(database)
        done = self.up("--database", address, ok=ok, PGPASSWORD=password)
        return done.returncode, done.stderr

    def count(self, table: str) -> int:
        return int(self.postgres.sql(f"SELECT count(*) FROM {table}", "runs"))  # noqa: S608


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    with running_postgres() as postgres:
        for name in ("runs", "newer"):
            postgres.sql(f"CREATE DATABASE {name} OWNER {ROLE}")
        said: list[str] = []
        lines: set[str] = set()
        base = tmp_path_factory.mktemp("database")
        with a_server(base, Kept, postgres, said, lines, extra=[POSTGRESQL_DRIVER]) as made:
            assert isinstance(made, Kept)
            with seeing_command_lines(lines):
                flags = ("--database", postgres.address("runs"), "--show-passwords")
                done = made.up(*flags, PGPASSWORD=PASSWORD)
            said += [done.stdout, done.stderr]
            yield made


@contextmanager
def seeing_command_lines(seen: set[str]) -> Iterator[None]:
    """Note every process's command line, ten times a second."""
    enough = threading.Event()

    def look() -> None:
        while not enough.wait(0.1):
            for folder in Path("/proc").glob("[0-9]*"):
                try:
                    seen.add((folder / "cmdline").read_text(errors="replace").replace("\0", " "))
                except OSError:
                    continue

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


def test_runs_that_the_client_logs_are_in_postgresql(server: Kept, tmp_path: Path) -> None:
    before = server.count("runs")
    told = server.round_trip(tmp_path / "client", megabytes=1)
    assert told["logged"] == [{"depth": "3"}, {"loss": 0.25}]
    assert (told["user"], told["received"]) == (OWNER, told["sent"])
    assert server.count("runs") == before + 1
    assert not list(server.data.glob("*.db"))


def test_the_deploy_proved_it_and_left_no_row_behind(server: Kept) -> None:
    checks = server.proven()
    assert [check["held"] for check in checks] == [True] * len(checks)
    assert any("metrics are logged" in check["tried"] for check in checks)
    experiments = server.postgres.sql("SELECT name FROM experiments", "runs").split("\n")
    assert "Default" in experiments
    assert not [name for name in experiments if "verify" in name]
    assert server.count("registered_models") == 0


def test_people_are_let_in_as_with_any_other_database(server: Kept) -> None:
    with server.api(ADA, server.let_in(ADA)) as api:
        assert api.post("experiments/search", json={"max_results": 1}).status_code == 200


def test_its_password_is_in_no_command_line(server: Kept) -> None:
    now = {" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"])}
    lines = server.lines | now
    assert not [line for line in lines if any(secret in line for secret in SPELLED)]
    # The one that tries the database names it: so the others were seen too.
    assert [line for line in server.lines if f"{ROLE}@127.0.0.1:{server.postgres.port}" in line]


def test_its_password_is_in_one_file_that_only_the_owner_reads(server: Kept) -> None:
    server.run("status")
    holding = []
    packages = server.machine() / "packages"  # from the index as they are
    for file in (each for each in all_in(server.home) if each.is_file()):
        if file.is_relative_to(packages):
            continue
        content = content_of(file)
        holding += [file] * any(secret.encode() in content for secret in SPELLED)
    kept = server.data / "stores.env"
    assert holding == [kept]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert not [text for text in server.said if any(secret in text for secret in SPELLED)]


REFUSED = [
    # the password given, whether the port is the database's, a word of the reason
    ("wrong", True, "password authentication failed"),
    (PASSWORD, False, "Connection refused"),
]


@pytest.mark.parametrize(("password", "right_port", "reason"), REFUSED)
def test_a_database_that_does_not_open_is_told_before_anything_changes(
    server: Kept, password: str, right_port: bool, reason: str
) -> None:
    database = server.postgres.port if right_port else free_port()
    address = f"postgresql://{ROLE}@127.0.0.1:{database}/runs"
    before = set(server.home.rglob("*.json"))
    refused = server.run(
        *("deploy", "local", "-e", "other", "--port", str(free_port()), "--database", address),
        ok=False,
        PGPASSWORD=password,
    )
    assert (refused.returncode, refused.stdout) == (1, "")
    sentence = refused.stderr.partition("error: ")[2].splitlines()[0]
    assert sentence.startswith("The database does not let MLflow in: ")
    assert reason in sentence
    assert not server.folder("other").exists()
    assert set(server.home.rglob("*.json")) == before


def test_a_wrong_password_for_a_server_that_runs_leaves_it_all_as_it_was(server: Kept) -> None:
    # What the machine writes by itself, and the lock's word on who held it last.
    but = ("machine/logs", "machine/packages", "control/observed", "changing.lock")
    before = all_files(server.folder(), *but)
    code, said = server.move("runs", ok=False, password="wrong")
    assert (code, "password authentication failed" in said) == (1, True)
    assert all_files(server.folder(), *but) == before


def test_a_database_of_a_newer_mlflow_is_left_alone_and_the_server_goes_on(server: Kept) -> None:
    postgres, pids = server.postgres, server.pids()["mlflow"]
    postgres.sql(
        f"SET ROLE {ROLE}; CREATE TABLE alembic_version AS SELECT 'ffffffffffff' AS version_num",
        "newer",
    )
    try:
        code, said = server.move("newer", ok=False)
        tables = postgres.sql(
            "SELECT tablename FROM pg_tables WHERE tableowner = 'mlflow'", "newer"
        )
        still = server.status_for(OWNER, server.owner_password())
    finally:
        server.move("runs")
        postgres.sql("DROP TABLE alembic_version", "newer")
    assert code == 3
    assert "its tables are those of a newer MLflow (schema ffffffffffff)" in said
    assert f"The runs stay in {postgres.address('runs')}: nothing moves them" in said
    assert (tables, still, server.pids()["mlflow"]) == ("alembic_version", 200, pids)


def test_a_database_that_was_away_is_told_as_an_error_and_used_again_once_it_is_back(
    server: Kept,
) -> None:
    password, pids = server.owner_password(), server.pids()["mlflow"]

    def answer() -> int:
        with server.api(OWNER, password) as api:
            return api.post("experiments/search", json={"max_results": 1}).status_code

    assert answer() == 200
    server.postgres.stop()
    try:
        away = answer()
    finally:
        server.postgres.start()
    assert away in range(500, 600)
    assert eventually(lambda: answer() == 200), "it does not find its database again"
    assert server.pids()["mlflow"] == pids
