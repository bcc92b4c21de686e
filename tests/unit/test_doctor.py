"""`doctor` for this computer and its environments: what is missing, what is unwell, what to do."""

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from trackstack import environment as environments
from trackstack.desired import Applied, Observed, Release, StepReport
from trackstack.environment import Environment
from trackstack.errors import MissingError, NotProvenError
from trackstack.operations import doctor_computer
from trackstack.operations.doctor import examine, report_findings
from trackstack.operations.doctor_computer import disk_finding, memory_finding, python_finding
from trackstack.operations.findings import COMPUTER, Diagnosis, Finding
from trackstack.release import render_release
from trackstack.targets import computer, docker, local
from trackstack.targets.schema import compare
from unit.making import NOON, OUTPUTS, Called, deployed, plan

NGINX = (
    "nginx version: nginx/1.22.1\nconfigure arguments: --with-http_ssl_module "
    "--with-http_realip_module --with-http_sub_module --with-http_auth_request_module"
)
EVERY_MODULE = sorted({module for modules in computer.MODULES.values() for module in modules})


def levels(diagnosis: Diagnosis, where: str) -> dict[str, str]:
    return {each.about: each.level for each in diagnosis.findings if each.where == where}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (NGINX, None),
        (NGINX.replace("nginx/1.22.1", "openresty/1.21.4.1"), None),
        (NGINX.replace("1.22.1", "1.19.5"), None),
        (NGINX.replace("1.22.1", "1.19.4"), "nginx 1.19.4 is too old"),
        (NGINX.replace("1.22.1", "1.9.15"), "nginx 1.9.15 is too old"),
        (NGINX.replace("--with-http_realip_module ", ""), "without http_realip_module"),
        (NGINX.replace("--with-http_auth_request_module", ""), "without http_auth_request_module"),
        (f"{NGINX} --without-http_limit_req_module", "without http_limit_req_module"),
        (f"{NGINX} --without-pcre", "without pcre"),
    ],
)
def test_an_nginx_that_cannot_serve_is_told_from_one_that_can(
    settings: str, told: str | None
) -> None:
    problem = computer.nginx_problem("/usr/sbin/nginx", settings, EVERY_MODULE, "apt-get")
    assert (told or "") in (problem.sentence if problem else "")
    assert (problem is None) == (told is None)


@pytest.mark.parametrize("tls", sorted(computer.MODULES))
def test_the_settings_of_a_server_use_no_module_that_is_not_asked_for(tls: str) -> None:
    # What each directive needs beyond a plain nginx, from nginx's own documentation.
    optional = {
        "auth_request": "http_auth_request_module",
        "sub_filter": "http_sub_module",
        "ssl_certificate": "http_ssl_module",
        "set_real_ip_from": "http_realip_module",
    }
    settings = _nginx_settings(tls)
    used = {module for directive, module in optional.items() if f" {directive} " in settings}
    assert used == set(computer.MODULES[tls])


def _nginx_settings(tls: str) -> str:
    server: dict[str, dict[str, object]] = {
        "none": {},
        "own": {"listen": "192.0.2.7"},
        "files": {
            "listen": "192.0.2.7",
            "hostnames": ["a.example"],
            "tls": "files",
            "certificate": "/a.pem",
            "key": "/a.key",
        },
        "upstream": {
            "listen": "192.0.2.7",
            "hostnames": ["a.example"],
            "tls": "upstream",
            "trusted_proxies": ["192.0.2.0/24"],
        },
    }
    made = plan(**server[tls])
    assert made.nginx.tls == tls
    files = render_release(made, OUTPUTS)["files"]
    assert isinstance(files, tuple)
    return str(next(file.content for file in files if file.path == "nginx/nginx.conf"))


@pytest.mark.parametrize(
    ("manager", "way"),
    [
        ("brew", "brew install nginx"),
        ("apt-get", "sudo systemctl disable --now nginx"),
        ("dnf", "sudo dnf install nginx"),
        ("pacman", "sudo pacman -S nginx"),
        (None, "this system's package manager"),
    ],
)
def test_a_missing_nginx_is_installed_as_this_platform_does(manager: str | None, way: str) -> None:
    problem = computer.nginx_problem(None, "", EVERY_MODULE, manager)
    assert isinstance(problem, MissingError)
    assert way in str(problem.hint)


@pytest.mark.parametrize(
    ("folder", "kernel", "mounts", "told"),
    [
        ("/home/ada", "Linux version 6.1", {"/": "ext4"}, None),
        ("/home/ada", "Linux … Microsoft", {"/": "ext4", "/mnt/c": "9p"}, None),
        ("/mnt/c/Users/ada", "Linux … microsoft", {"/": "ext4", "/mnt/c": "9p"}, "Windows drive"),
        ("/mnt/c/Users/ada", "Linux … Microsoft", {"/": "ext4", "/mnt/c": "drvfs"}, "Windows"),
        ("/mnt/cellar", "Linux … microsoft", {"/": "ext4", "/mnt/c": "9p"}, None),
        ("/mnt/c/share", "Linux version 6.1", {"/": "ext4", "/mnt/c": "9p"}, None),
        ("/home/a%b", "", {}, "percent sign"),
    ],
)
def test_a_home_folder_that_no_server_can_live_in_is_told(
    folder: str, kernel: str, mounts: dict[str, str], told: str | None
) -> None:
    problem = computer.folder_problem(Path(folder), kernel, mounts)
    assert (problem is None) == (told is None)
    assert (told or "") in (problem.sentence if problem else "")


def test_a_deploy_into_such_a_folder_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., Called]
) -> None:
    monkeypatch.setenv("TRACKSTACK_HOME", str(tmp_path / "100%"))
    done = command("deploy", "local")
    assert done.code == MissingError.exit_code
    assert "percent sign" in done.err
    assert not list((tmp_path / "100%").rglob("*.json"))


@pytest.mark.parametrize(
    ("total", "free", "level"),
    [(16e9, 8e9, "ok"), (2e9, 300e6, "warning"), (900e6, 800e6, "bad")],
)
def test_too_little_memory_is_told(total: float, free: float, level: str) -> None:
    assert memory_finding(int(total), int(free)).level == level


@pytest.mark.parametrize(
    ("free", "first", "level"),
    [(50e9, True, "ok"), (2e9, True, "bad"), (2e9, False, "ok"), (500e6, False, "bad")],
)
def test_too_little_disk_is_told(free: float, first: bool, level: str) -> None:
    assert disk_finding(Path("/home"), int(free), first).level == level


@pytest.mark.parametrize(
    ("version", "level"), [("3.10.12", "bad"), ("3.9.1", "bad"), ("3.11.0", "ok"), ("3.14.1", "ok")]
)
def test_a_python_that_is_too_old_is_told(version: str, level: str) -> None:
    assert python_finding(version).level == level


def test_a_port_that_is_taken_is_told_with_who_has_it_and_another_that_is_free() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        finding = doctor_computer._port(port)
    assert finding.level == "warning"
    assert f"process {os.getpid()}" in finding.sentence
    assert "--port" in str(finding.remedy)
    assert f"--port {port}`" not in str(finding.remedy)


def test_what_is_missing_here_weighs_more_than_what_is_unwell_there() -> None:
    def code(*where: str) -> int:
        found = [Finding(about="a", level="bad", sentence="b", where=each) for each in where]
        return Diagnosis(findings=tuple(found)).exit_code

    warned = Finding(about="a", level="warning", sentence="b")
    assert Diagnosis(findings=(warned,)).exit_code == 0
    assert code("local") == NotProvenError.exit_code
    assert code("local", COMPUTER) == MissingError.exit_code


FAILED = StepReport(name="nginx", state="failed", problem="no")


def report(age: timedelta = timedelta(0), *steps: StepReport) -> Observed:
    return Observed(
        machine="local",
        boot="a",
        healthy=True,
        seen=Applied(),
        applied=Applied(),
        release_id=None,
        versions={},
        steps=steps,
        heartbeat=NOON - age,
    )


@pytest.mark.parametrize(
    ("seen", "about", "level"),
    [
        (report(timedelta(seconds=30)), "agent", "ok"),
        (report(timedelta(minutes=3)), "agent", "bad"),
        (report(timedelta(minutes=3), StepReport(name="packages", state="running")), "agent", "ok"),
        (report(timedelta(hours=1), StepReport(name="packages", state="running")), "agent", "bad"),
        (report(timedelta(seconds=-60)), "clock", "warning"),
        (report(timedelta(0), FAILED), "steps", "bad"),
        (None, "agent", "bad"),
    ],
)
def test_what_a_machine_reports_is_judged(seen: Observed | None, about: str, level: str) -> None:
    found = {each.about: each.level for each in report_findings("local", seen, NOON)}
    assert found.pop(about) == level
    assert set(found.values()) <= {"ok"}


def make_database(file: Path, *stamps: str) -> Path:
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE alembic_version (version_num TEXT)")
        database.executemany("INSERT INTO alembic_version VALUES (?)", [(s,) for s in stamps])
        database.commit()
    return file


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A Python environment whose MLflow knows the revisions a1, b2 and c3, in this order."""
    folder = tmp_path / "lib/python3.13/site-packages/mlflow/store/db_migrations/versions"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "a1_first.py").write_text("revision = 'a1'\ndown_revision = None\n")
    (folder / "b2_second.py").write_text('revision: str = "b2"\ndown_revision: str = "a1"\n')
    (folder / "c3_third.py").write_text('revision = "c3"\ndown_revision = "b2"\n')
    return tmp_path


@pytest.mark.parametrize(
    ("stamps", "fits"),
    [(["c3"], "fits"), (["b2"], "older"), (["a1"], "older"), (["d4"], "newer")],
)
def test_a_database_is_held_against_the_mlflow_that_is_installed(
    packages: Path, tmp_path: Path, stamps: list[str], fits: str
) -> None:
    assert compare(make_database(tmp_path / "mlflow.db", *stamps), packages) == fits


def test_what_cannot_be_compared_is_not_judged(packages: Path, tmp_path: Path) -> None:
    assert compare(tmp_path / "missing.db", packages) is None
    assert not (tmp_path / "missing.db").exists(), "looking made a file"
    (tmp_path / "damaged.db").write_bytes(b"not a database" * 100)
    assert compare(tmp_path / "damaged.db", packages) is None
    good = make_database(tmp_path / "mlflow.db", "c3")
    assert compare(good, tmp_path / "no packages") is None


def test_an_environment_that_does_not_run_is_told_with_how_to_start_it(
    environment: Environment,
) -> None:
    diagnosis = examine([environment])
    assert levels(diagnosis, "local")["running"] == "bad"
    assert any(
        "trackstack deploy local -e local" in str(each.remedy) for each in diagnosis.findings
    )


@pytest.mark.parametrize("document", ["release", "users"])
@pytest.mark.parametrize("content", ["not json", '{"format": 99, "kit": "9.0"}'])
def test_a_damaged_or_newer_document_is_told(
    environment: Environment, document: str, content: str
) -> None:
    (environment.folder / "control" / "desired" / f"{document}.json").write_text(content)
    found = [each for each in examine([environment]).findings if each.about == "documents"]
    assert [(each.level, f"desired/{document}.json" in each.sentence) for each in found] == [
        ("bad", True)
    ]


def test_a_damaged_record_is_told(environment: Environment) -> None:
    (environment.folder / "record.json").write_text("{")
    assert levels(examine([environment]), "local") == {"record": "bad"}


def test_a_password_that_opens_nothing_any_longer_is_told(environment: Environment) -> None:
    assert levels(examine([environment]), "local")["password"] == "ok"
    environment.keep_password("ada", "an old one")
    assert levels(examine([environment]), "local")["password"] == "warning"


@pytest.fixture
def stray(environment: Environment) -> Iterator[psutil.Process]:
    """A process of the environment's machine that outlived its supervisor."""
    machine = environment.folder / "machine"
    machine.mkdir(exist_ok=True)
    with subprocess.Popen(
        [sys.executable, "-c", "input()"],
        stdin=subprocess.PIPE,
        env={**os.environ, "TRACKSTACK_MACHINE": str(machine.resolve())},
    ) as left:
        yield psutil.Process(left.pid)
        left.kill()


def test_what_a_killed_supervisor_left_running_is_told(
    environment: Environment, stray: psutil.Process
) -> None:
    told = next(each for each in examine([environment]).findings if each.about == "stray")
    assert told.level == "bad"
    assert f"({stray.pid})" in told.sentence


def test_a_database_with_older_tables_is_told(
    environment: Environment, packages: Path, home: Path
) -> None:
    release = environment.target.store.get("desired/release.json")
    assert release is not None
    machine = home / "environments" / "local" / "machine"
    (machine / "data").mkdir(parents=True)
    make_database(machine / "data" / "mlflow.db", "b2")
    installed = machine / "packages" / Release.from_bytes(release.data).packages_id
    installed.mkdir(parents=True)
    shutil.copytree(packages / "lib", installed / "lib")
    told = next(each for each in examine([environment]).findings if each.about == "schema")
    assert (told.level, "mlflow db upgrade" in str(told.remedy)) == ("bad", True)


def test_looking_changes_nothing(environment: Environment) -> None:
    def everything() -> dict[Path, bytes | None]:
        below = environments.home().rglob("*")
        return {path: path.read_bytes() if path.is_file() else None for path in below}

    before = everything()
    examine([environment])
    assert everything() == before


def test_without_an_environment_doctor_looks_at_this_computer(
    command: Callable[..., Called], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "program_folders", lambda: "/nonexistent")
    monkeypatch.setattr(computer, "package_manager", lambda: "dnf")
    done = command("doctor")
    assert done.code == MissingError.exit_code
    assert "sudo dnf install nginx" in done.out


@pytest.mark.parametrize(
    ("targets", "asked"),
    [
        (set(), {"nginx"}),
        ({"local"}, {"nginx"}),
        ({"compose"}, {"docker"}),
        ({"local", "compose"}, {"nginx", "docker"}),
        ({"aws"}, set()),
    ],
    ids=["nothing yet", "local", "compose", "local and compose", "aws"],
)
def test_of_this_computer_only_that_is_asked_what_its_environments_need(
    monkeypatch: pytest.MonkeyPatch, targets: set[str], asked: set[str]
) -> None:
    monkeypatch.setattr(docker, "problem", lambda: None)
    found = {each.about for each in doctor_computer.this_computer(targets)}
    assert found & {"nginx", "docker"} == asked
    assert ("port" in found) == (not targets)


def test_doctor_looks_at_every_environment_unless_one_is_named(
    command: Callable[..., Called],
) -> None:
    deployed("local", "ada")
    deployed("second", "ada", port=8181)
    assert {"local:", "second:"} <= set(command("doctor").out.splitlines())
    named = command("doctor", "-e", "second").out.splitlines()
    assert "second:" in named
    assert "local:" not in named
