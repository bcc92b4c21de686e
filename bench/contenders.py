"""The servers that are measured side by side, each as its own instructions start it."""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.client import Client, Login, Place
from kits import Kit, free_port, running_kit

USER = "ada"
PASSWORD = "bench-password"  # noqa: S105
NGINX_START_SECONDS = 10
MLFLOW_START_SECONDS = 120


@dataclass(frozen=True)
class Server:
    """One server under test.

    Attributes:
        place: where it answers.
        login: what a client sends; empty where nothing is asked.
        processes: the roots of all its processes.
    """

    place: Place
    login: Login
    processes: tuple[psutil.Process, ...]

    def client(self) -> Client:
        return Client(self.place, self.login)


@dataclass(frozen=True)
class Contenders:
    """All that one run compares.

    Attributes:
        ours: what `trackstack deploy local` makes.
        bare: `mlflow server` as it comes, on TCP.
        socket: the fastest direct set-up known: a unix socket, no jobs, as many workers as ours.
        apr1: the tutorials' nginx before `bare`, its password hashed as `htpasswd -c` does.
        bcrypt: likewise, hashed by `htpasswd -B -C 12`.
    """

    kit: Kit
    ours: Server
    bare: Server
    socket: Server
    apr1: Server
    bcrypt: Server


@contextmanager
def all_of_them(folder: Path) -> Iterator[Contenders]:
    """Start every server, and end them all."""
    with ExitStack() as stack:
        kit = stack.enter_context(running_kit(folder / "home"))
        kit.deploy()
        mlflow = next((kit.machine() / "packages").iterdir()) / "bin" / "python"
        bare_port = free_port()
        place = Place("127.0.0.1", bare_port)
        bare = stack.enter_context(
            _mlflow(folder / "bare", mlflow, place, "--host", "127.0.0.1", "--port", str(bare_port))
        )
        path = folder / "socket" / "mlflow.sock"
        socket = stack.enter_context(
            _mlflow(
                *(folder / "socket", mlflow, Place("localhost", 80, path)),
                *("--workers", "2", "--uvicorn-opts", f"--uds {path} --no-access-log"),
                MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
            )
        )
        apr1 = stack.enter_context(_tutorial(folder / "apr1", bare, ["-m"]))
        bcrypt = stack.enter_context(_tutorial(folder / "bcrypt", bare, ["-B", "-C", "12"]))
        yield Contenders(kit, ours_of(kit), bare, socket, apr1, bcrypt)


def ours_of(kit: Kit) -> Server:
    """The server that a kit deployed, with a login of its own."""
    file = kit.home.parent / "passwords"
    kit.run("users", "add", USER, "--password-file", file)
    name, _, password = file.read_text().strip().partition(":")
    return Server(Place("127.0.0.1", kit.port), Login(name, password), tuple(kit.processes()))


@contextmanager
def _mlflow(
    folder: Path, python: Path, place: Place, *arguments: str, **environment: str
) -> Iterator[Server]:
    folder.mkdir()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [python, "-m", "mlflow", "server", *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**_without_mlflow(), "MLFLOW_DISABLE_TELEMETRY": "true", **environment},
            start_new_session=True,
        )
    server = Server(place, Login(), (psutil.Process(process.pid),))
    try:
        _wait(server, MLFLOW_START_SECONDS)
        yield server
    finally:
        _end(process)


@contextmanager
def _tutorial(folder: Path, behind: Server, hashing: list[str]) -> Iterator[Server]:
    """The default server block of Debian's nginx, edited as the tutorials say."""
    folder.mkdir()
    port = free_port()
    subprocess.run(
        ["htpasswd", "-i", "-c", *hashing, folder / "htpasswd", USER],
        input=PASSWORD.encode(),
        check=True,
        capture_output=True,
    )
    settings = f"""
worker_processes auto;
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 768; }}
http {{
    sendfile on;
    tcp_nopush on;
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    access_log {folder}/access.log;
    gzip on;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://localhost:{behind.place.port};
            auth_basic "Restricted Content";
            auth_basic_user_file {folder}/htpasswd;
        }}
    }}
}}
"""
    (folder / "nginx.conf").write_text(settings)
    # Root's workers would be another user's, who may not read this folder.
    user = ["-g", "user root;"] if os.geteuid() == 0 else []
    process = subprocess.Popen(
        ["nginx", "-p", folder, "-c", folder / "nginx.conf", "-e", "error.log", *user]
    )
    server = Server(
        Place("127.0.0.1", port),
        Login(USER, PASSWORD),
        (psutil.Process(process.pid), *behind.processes),
    )
    try:
        _wait(server, NGINX_START_SECONDS)
        yield server
    finally:
        _end(process)


def _wait(server: Server, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            with server.client() as client:
                client.search()
        except (OSError, ValueError):
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(f"{server.place} did not answer within {seconds} s")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a process and all below it."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for each in family:
        try:
            each.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait()
    psutil.wait_procs(family, timeout=10)


def _without_mlflow() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not re.match("MLFLOW_|CI$", k)}
