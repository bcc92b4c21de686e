"""`doctor` and the commands with `--url` against real servers: the kit's own, MLflow as it comes,
and the tutorial's nginx before it."""

import json
import os
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from kits import Kit, free_port, running_kit, seed_packages

TUTORIAL = """
{user}
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass {mlflow};
            auth_basic "Restricted Content";
            auth_basic_user_file {folder}/htpasswd;
        }}
    }}
}}
"""
# The password is 'tutorial', by bcrypt with 12 rounds, as from `htpasswd -B -C 12`.
HTPASSWD = "ada:$2y$12$abcdefghijklmnopqrstuu/6SawDYyB7v5l81oOc7IF1RRxZVkCy.\n"
START_SECONDS = 120
# Judged by time, which a machine with other work on it spoils.
BY_TIME = {"stall", "hashes"}


@dataclass(frozen=True)
class Plain:
    """MLflow as it comes, and the folder it works in."""

    url: str
    folder: Path


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    """The kit's own server, deployed for ada."""
    with running_kit(tmp_path_factory.mktemp("doctor") / "home") as kit:
        kit.deploy("--user", "ada")
        yield kit


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plain]:
    """`mlflow server` as it comes, with two workers; its database is mlflow.db in its folder."""
    folder = tmp_path_factory.mktemp("plain")
    seed_packages(folder)
    python = next((folder / "packages").iterdir()) / "bin" / "python"
    port = free_port()
    command = [python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    with started(
        [*map(str, command), "--workers", "2", "--backend-store-uri", "sqlite:///mlflow.db"],
        folder,
        f"http://127.0.0.1:{port}/health",
    ):
        yield Plain(f"http://127.0.0.1:{port}", folder)


@pytest.fixture(scope="module")
def tutorial(plain: Plain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The tutorial's nginx before it, with a password hashed by bcrypt with 12 rounds."""
    folder = tmp_path_factory.mktemp("tutorial")
    port = free_port()
    user = "user root;" if os.getuid() == 0 else ""
    (folder / "htpasswd").write_text(HTPASSWD)
    settings = TUTORIAL.format(user=user, folder=folder, port=port, mlflow=plain.url)
    (folder / "nginx.conf").write_text(settings)
    url = f"http://127.0.0.1:{port}"
    with started(["nginx", "-e", "stderr", "-c", str(folder / "nginx.conf")], folder, url):
        yield url


@contextmanager
def started(command: list[str], folder: Path, url: str) -> Iterator[None]:
    """Run a server until the end of the block; it is up when something answers."""
    with (folder / "log.txt").open("wb") as log:
        server = subprocess.Popen(
            command,
            cwd=folder,
            stdout=log,
            stderr=log,
            # Its job runner takes a minute of processor time and has no part in this.
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        )
    try:
        until = time.monotonic() + START_SECONDS
        while not answers(url):
            alive = server.poll() is None and time.monotonic() < until
            assert alive, f"{command[0]} does not come up: {(folder / 'log.txt').read_text()}"
            time.sleep(0.1)
        yield
    finally:
        processes = psutil.Process(server.pid).children(recursive=True)
        server.terminate()
        _, alive = psutil.wait_procs(processes, timeout=10)
        for process in alive:
            process.kill()
        server.wait(timeout=20)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code < 500
    except httpx.TransportError:
        return False


def look(kit: Kit, *arguments: str, **more: str) -> tuple[int, dict[str, str]]:
    """The exit code of doctor and the level of each finding."""
    done = kit.run("doctor", "--json", *arguments, ok=False, **more)
    assert done.stdout, f"doctor {' '.join(arguments)} found nothing: {done.stderr}"
    return done.returncode, {
        each["about"]: each["level"] for each in json.loads(done.stdout)["findings"]
    }


def dump(plain: Plain) -> list[str]:
    """All that the plain server stores."""
    with closing(sqlite3.connect(plain.folder / "mlflow.db")) as opened:
        rows = list(opened.iterdump())
    return [*rows, *map(str, sorted((plain.folder / "mlartifacts").rglob("*")))]


def login(kit: Kit) -> dict[str, str]:
    kept = json.loads((kit.folder() / "credentials.json").read_text())
    return {"TRACKSTACK_PASSWORD": kept["ada"]}


def test_a_deployed_server_is_well(deployed: Kit) -> None:
    code, seen = look(deployed)
    assert {about: level for about, level in seen.items() if level != "ok"} == {}
    assert {"agent", "answers", "schema", "password"} <= set(seen)
    assert code == 0


def test_a_deployed_server_looks_well_from_outside(deployed: Kit) -> None:
    url = f"http://127.0.0.1:{deployed.port}"
    code, seen = look(deployed, "--url", url, "--user", "ada", **login(deployed))
    assert {
        about: level for about, level in seen.items() if level != "ok" and about not in BY_TIME
    } == {}
    assert {"login", "uploads", "compression", "version", "hosts", "cross-origin"} <= set(seen)
    assert code == 0


def test_verify_by_url_proves_a_deployed_server(deployed: Kit) -> None:
    url = f"http://127.0.0.1:{deployed.port}"
    done = deployed.run("verify", "--url", url, "--user", "ada", **login(deployed))
    assert f"{url} is proven" in done.stdout


def test_mlflow_as_it_comes_is_open_and_stalls(kit: Kit, plain: Plain) -> None:
    code, seen = look(kit, "--url", plain.url)
    wrong = {about: level for about, level in seen.items() if level != "ok"}
    assert wrong == {
        "entrance": "bad",
        "hosts": "bad",
        "compression": "warning",
        "server-told": "warning",
        "stall": "warning",
    }
    assert code == 3


def test_verify_by_url_refuses_mlflow_as_it_comes(kit: Kit, plain: Plain) -> None:
    done = kit.run("verify", "--url", plain.url, ok=False)
    assert done.returncode == 3
    assert "a stranger reads no experiment" in done.stderr


def test_the_tutorials_nginx_limits_uploads_and_hashes_slowly(kit: Kit, tutorial: str) -> None:
    code, seen = look(kit, "--url", tutorial, "--user", "ada", TRACKSTACK_PASSWORD="tutorial")
    wrong = {about for about, level in seen.items() if level in ("warning", "bad")}
    assert {"hosts", "uploads", "compression", "hashes", "server-told"} <= wrong
    assert (seen["entrance"], seen["login"]) == ("ok", "ok")
    assert code == 3


def test_looking_from_outside_changes_nothing(kit: Kit, plain: Plain) -> None:
    before = dump(plain)
    look(kit, "--url", plain.url)
    kit.run("verify", "--url", plain.url, ok=False)
    assert dump(plain) == before
