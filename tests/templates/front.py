"""The rendered settings under the real nginx, with a small upstream where MLflow would be."""

import _thread
import base64
import json
import os
import re
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kits import free_port
from trackstack import credentials
from trackstack.agent import folders
from trackstack.agent.ensure_nginx import link
from trackstack.agent.ensure_release import ensure_files, place_service
from trackstack.agent.ensure_users import let_in
from trackstack.agent.machine import ask
from trackstack.agent.round import Round
from trackstack.agent.supervisor import Supervisor
from trackstack.control.directory import DirectoryStore
from trackstack.desired import Change, Release, ReleaseFile
from trackstack.outputs import Outputs
from trackstack.plan import make_plan
from trackstack.release import render_release
from trackstack.spec import LocalSpec, Server

USER = "ada"
PASSWORD = "correct-horse"
DEADLINE_SECONDS = 60.0


@dataclass
class Request:
    """What the upstream saw of one request."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    received: int = 0

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


@dataclass
class Upstream:
    """Answers where MLflow would, and notes what it was asked.

    Attributes:
        requests: every one, as soon as its head has arrived.
        connections: how many were opened.
        arrived: told after each piece of a body.
    """

    socket: Path
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def wait_for_bytes(self, path: str, count: int) -> int:
        """Wait until that much of a body has arrived; returns how much has."""

        def received() -> int:
            return sum(seen.received for seen in self.requests if seen.path == path)

        with self.arrived:
            self.arrived.wait_for(lambda: received() >= count, DEADLINE_SECONDS)
            return received()

    def seen(self, mark: str) -> list[Request]:
        """The requests whose path holds a text."""
        return [request for request in self.requests if mark in request.path]


@dataclass(frozen=True)
class Answer:
    """One answer, to the letter.

    Attributes:
        raw: all of it as it came.
    """

    raw: bytes

    @property
    def status(self) -> int:
        """The status, or 0 when the connection was closed without a word."""
        return int(self.raw.split(b" ", 2)[1]) if self.raw else 0

    @property
    def head(self) -> str:
        return self.raw.partition(b"\r\n\r\n")[0].decode("latin-1")

    @property
    def body(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[2]

    def values(self, name: str) -> list[str]:
        return re.findall(rf"(?im)^{name}: *(.*?)\r?$", self.head)

    @property
    def timeless(self) -> bytes:
        """All of it but the date."""
        return re.sub(rb"\r\nDate: [^\r]*", b"", self.raw)


@dataclass(frozen=True)
class Front:
    """A running nginx.

    Attributes:
        machine: the machine's folder.
        log: what nginx logs of requests.
        errors: what it logs of errors.
    """

    machine: Path
    port: int
    release: Release
    upstream: Upstream
    log: Path
    errors: Path

    @property
    def host(self) -> str:
        return f"localhost:{self.port}"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_SECONDS)

    def send(self, data: bytes) -> Answer:
        """Send these very bytes and read until nginx closes."""
        with self.connect() as connection:
            return exchange(connection, data)

    def first_status(self, data: bytes) -> int:
        """Send these bytes; the status, without waiting until nginx has closed."""
        with self.connect() as connection, connection.makefile("rb") as answer:
            connection.sendall(data)
            return int(answer.readline().split(b" ")[1])

    def ask(
        self,
        path: str,
        method: str = "GET",
        *,
        login: bytes | None = None,
        host: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        body: bytes = b"",
    ) -> Answer:
        """One request on a connection of its own.

        Args:
            path: sent as it is.
            method: likewise.
            login: name, colon and password; None for a stranger.
            host: of the Host header; None for the right one.
            headers: more of them.
            body: sent with its length.
        """
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host or self.host}", "Connection: close"]
        if login is not None:
            lines.append(authorization(login))
        if body:
            lines.append(f"Content-Length: {len(body)}")
        lines += [f"{name}: {value}" for name, value in headers]
        return self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def ask_as_ada(self, path: str, method: str = "GET", **more: object) -> Answer:
        """One request of the user who may enter."""
        return self.ask(path, method, login=f"{USER}:{PASSWORD}".encode(), **more)  # type: ignore[arg-type]

    def let_in(self, name: str, password: str) -> None:
        """What the agent does for one user."""
        with chdir(self.machine):
            let_in(name, f"{name}:{credentials.hash_password(password)}\n")

    def logged(self, mark: str, count: int = 1) -> list[bytes]:
        """Wait for log lines that hold a text; nginx writes them after the answer."""
        until = time.monotonic() + DEADLINE_SECONDS
        while True:
            lines = self.log.read_bytes().splitlines()
            found = [line for line in lines if mark.encode() in line]
            if len(found) >= count or time.monotonic() > until:
                return found
            time.sleep(0.01)


def authorization(login: bytes) -> str:
    return f"Authorization: Basic {base64.b64encode(login).decode()}"


def exchange(connection: socket.socket, data: bytes) -> Answer:
    with suppress(BrokenPipeError, ConnectionResetError):  # answered before all was sent
        connection.sendall(data)
    received = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            received += piece
    return Answer(received)


@contextmanager
def running_front() -> Iterator[Front]:
    """An nginx with one user and an upstream; both are gone afterwards.

    In a folder with a short name, because a socket's path may hold 104 bytes only.
    """
    with tempfile.TemporaryDirectory(prefix="front-", dir="/tmp") as folder:
        machine = Path(folder).resolve()
        port = free_port()
        release = make_release(port)
        lay_out(machine, release)
        socket_path = machine / folders.mlflow_socket(release.mlflow)
        with running_upstream(socket_path) as upstream:
            front = Front(
                machine,
                port,
                release,
                upstream,
                log=machine / folders.NGINX_LOG,
                errors=machine / folders.NGINX_ERRORS,
            )
            front.let_in(USER, PASSWORD)
            with _running_nginx(front):
                yield front


def make_release(port: int) -> Release:
    """The release of a real plan; its packages are nobody's business here."""
    spec = LocalSpec(
        target="local",
        environment="test",
        server=Server(port=port, workers=1, mlflow="3.17.2"),
        users=[USER],
        protected=False,
    )
    plan = make_plan(spec, packages="")
    outputs = Outputs(url=f"http://127.0.0.1:{port}", machine="local")
    change = Change(at=datetime.now(UTC), who="tests", where="here", what="make it")
    release = Release.model_validate({**render_release(plan, outputs), "change": change})
    return release.model_copy(update={"files": tuple(map(_patient, release.files))})


def _patient(file: ReleaseFile) -> ReleaseFile:
    """A file that lets the tests guess as often as they like; test_guesses tries the limit."""
    return file.model_copy(update={"content": file.content.replace("rate=30r/m", "rate=9999r/s")})


def lay_out(machine: Path, release: Release) -> None:
    """Put a release where nginx is started, by the agent's own steps."""
    with chdir(machine):
        folders.make_all()
        store = DirectoryStore(Path("../control"))
        ensure_files(Round(Supervisor(), store, datetime.now(UTC), None, release, None))
        link(folders.NGINX_SETTINGS, folders.RELEASES / release.id / "nginx" / "nginx.conf")
        place_service(release, "nginx")


@contextmanager
def _running_nginx(front: Front) -> Iterator[None]:
    with front.log.open("ab") as log, front.errors.open("ab") as errors:
        nginx = subprocess.Popen(
            ["/bin/sh", "services/nginx.sh"],
            cwd=front.machine,
            stdout=log,
            stderr=errors,
            # As supervisor and its launcher have it.
            env={
                **os.environ,
                "TRACKSTACK_PYTHON": sys.executable,
                "SUPERVISOR_PROCESS_NAME": "nginx",
            },
        )
    try:
        until = time.monotonic() + DEADLINE_SECONDS
        control = front.machine / folders.NGINX_SOCKET
        while ask(control, "/release") is None:
            told = front.errors.read_text()
            assert nginx.poll() is None, f"nginx did not start:\n{told}"
            assert time.monotonic() < until, f"nginx does not answer:\n{told}"
            time.sleep(0.01)
        yield
    finally:
        nginx.terminate()
        nginx.wait(DEADLINE_SECONDS)


@contextmanager
def running_upstream(path: Path) -> Iterator[Upstream]:
    """An upstream on a unix socket."""
    upstream = Upstream(path)

    class Bound(_Handler):
        noted = upstream

    server = _Server(str(path), Bound)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield upstream
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        path.unlink(missing_ok=True)


class _Server(socketserver.ThreadingUnixStreamServer):
    request_queue_size = 2048  # uvicorn's

    def process_request(self, request: Any, client_address: Any) -> None:
        # Not by threading: that has coverage trace each thread, and where hundreds begin at once
        # Python 3.11 lets a few of them fail ("another trace function is being installed").
        _thread.start_new_thread(self.process_request_thread, (request, client_address))

    def handle_error(self, *_: object) -> None:
        """Quiet: a test, or nginx, went away before its answer."""


class _Handler(BaseHTTPRequestHandler):
    """Echoes as JSON; `/body?type=T&size=N` gives N bytes of a media type."""

    protocol_version = "HTTP/1.1"
    noted: Upstream

    def setup(self) -> None:
        super().setup()
        self.noted.connections += 1

    def __getattr__(self, name: str) -> object:
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def _answer(self) -> None:
        request = Request(self.command, self.path, list(self.headers.items()))
        self.noted.requests.append(request)
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            self._take_chunks(request)
        else:
            self._take(request, int(self.headers.get("Content-Length", 0)))
        asked = urlsplit(self.path)
        wanted = parse_qs(asked.query)
        if asked.path == "/body":
            kind, body = wanted["type"][0], b"x = 1;\n" * (int(wanted["size"][0]) // 7)
        else:
            kind = "application/json"
            body = json.dumps({"path": self.path, "received": request.received}).encode()
        self.send_response(int(wanted.get("status", ["200"])[0]))
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _take(self, request: Request, count: int) -> None:
        while count > 0 and (piece := self.rfile.read1(min(count, 1 << 20))):
            count -= len(piece)
            with self.noted.arrived:
                request.received += len(piece)
                self.noted.arrived.notify_all()

    def _take_chunks(self, request: Request) -> None:
        while count := int(self.rfile.readline().split(b";")[0], 16):
            self._take(request, count)
            self.rfile.readline()
        self.rfile.readline()

    def log_message(self, *_: object) -> None:
        """Quiet: the tests say what matters."""
