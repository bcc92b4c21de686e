"""A stand-in for an MLflow server behind a proxy, good or bad in any one way, on loopback."""

import base64
import contextlib
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SCRIPT = "static-files/static/js/main.0a1b2c3d.js"
PAGE = f'<!doctype html><script defer="defer" src="{SCRIPT}"></script>'
SCRIPT_BYTES = 200_000
SEARCH = "/api/2.0/mlflow/experiments/search"


@dataclass(frozen=True)
class Behaviour:
    """How the server is; by default as it should be.

    Attributes:
        login: name and password it asks for; None for a server that is open.
        hosts: the beginnings of the foreign Host names that it answers to.
        origin: what it says to a foreign page's question: 'refuse', 'ignore', 'reflect' or '*'.
        largest: the largest upload in bytes it takes, or None.
        hash_seconds: how long it checks a password.
        body_seconds: how much longer an answer with content takes than one without.
        clock: how many seconds its clock is ahead.
        sends_to: where it sends everybody, or None.
        open_paths: what it shows without a login.
    """

    login: tuple[str, str] | None = ("ada", "her password")
    hosts: tuple[str, ...] = ()
    origin: str = "refuse"
    largest: int | None = None
    packed: bool = True
    version: str = "3.17.2"
    server: str = "nginx"
    trace: bool = False
    hash_seconds: float = 0.0
    body_seconds: float = 0.0
    clock: float = 0.0
    sends_to: str | None = None
    open_paths: tuple[str, ...] = ()


@dataclass
class Server:
    """A stand-in that runs.

    Attributes:
        seen: method, path, name of the login or None, of each request.
        bodies: how many bytes of bodies came, by path.
    """

    url: str
    seen: list[tuple[str, str, str | None]] = field(default_factory=list)
    bodies: dict[str, int] = field(default_factory=dict)


@contextmanager
def serving(behaviour: Behaviour, certificate: Path | None = None) -> Iterator[Server]:
    """Serve until the end of the block; with a certificate (chain and key in one file), TLS."""
    listener = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    listener.daemon_threads = False  # all that came is noted when the block has ended
    scheme = "http"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        # The handshake belongs to the connection's own thread, or one bad client stops all.
        listener.socket = context.wrap_socket(
            listener.socket, server_side=True, do_handshake_on_connect=False
        )
        scheme = "https"
    server = Server(f"{scheme}://127.0.0.1:{listener.server_port}")
    listener.behaviour, listener.noted = behaviour, server  # type: ignore[attr-defined]
    listener.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=listener.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown()
        thread.join()
        listener.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 10

    def _any(self) -> None:
        is_ = self.server.behaviour  # type: ignore[attr-defined]
        noted = self.server.noted  # type: ignore[attr-defined]
        given = self.headers.get("Authorization", "").removeprefix("Basic ")
        name, _, password = base64.b64decode(given).decode().partition(":")
        noted.seen.append((self.command, self.path, name or None))
        size = int(self.headers.get("Content-Length", 0))
        noted.bodies[self.path] = noted.bodies.get(self.path, 0) + len(self.rfile.read(size))
        self._answer(*self._decide(is_, (name, password) if name else None))

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_TRACE = _any  # noqa: N815

    def handle_expect_100(self) -> bool:
        """Nobody is told to go on: what comes after the head is read by nobody."""
        self.server.noted.seen.append((self.command, self.path, None))  # type: ignore[attr-defined]
        largest = self.server.behaviour.largest  # type: ignore[attr-defined]
        too_large = largest is not None and int(self.headers["Content-Length"]) > largest
        self.close_connection = True
        self._answer(413 if too_large else 401, "", {"Connection": "close"})
        bodies = self.server.noted.bodies  # type: ignore[attr-defined]
        bodies.setdefault(self.path, 0)
        with contextlib.suppress(ConnectionResetError):  # it hung up, as it should
            while came := self.rfile.read1():
                bodies[self.path] += len(came)
        return False

    def _decide(
        self, is_: Behaviour, login: tuple[str, str] | None
    ) -> tuple[int, str, dict[str, str]]:
        host = self.headers["Host"]
        if "example" in host and not host.startswith(is_.hosts or "-"):
            return 421, "", {}
        if is_.sends_to:
            return 301, "", {"Location": f"{is_.sends_to}{self.path}"}
        if self.command == "TRACE":
            return (200, f"TRACE {self.path}", {}) if is_.trace else (405, "", {})
        origin = self.headers.get("Origin")
        more = {}
        if origin and is_.origin in ("reflect", "*"):
            more = {"Access-Control-Allow-Origin": origin if is_.origin == "reflect" else "*"}
        if origin and is_.origin == "reflect":
            more["Access-Control-Allow-Credentials"] = "true"
        if self.command == "OPTIONS":
            return 204, "", more
        if is_.login is not None and self.path not in is_.open_paths:
            if login is not None:
                time.sleep(is_.hash_seconds)
            if login != is_.login:
                return 401, "", {"WWW-Authenticate": "Basic"}
        return self._inside(is_, origin, more)

    def _inside(
        self, is_: Behaviour, origin: str | None, more: dict[str, str]
    ) -> tuple[int, str, dict[str, str]]:
        if self.command == "POST" and origin and is_.origin == "refuse":
            return 403, "Cross-origin request blocked", {}
        return self._page(is_, more)

    def _page(self, is_: Behaviour, more: dict[str, str]) -> tuple[int, str, dict[str, str]]:
        path = self.path.partition("?")[0]
        if path == SEARCH:
            return 200, '{"experiments": []}', {**more, "Content-Type": "application/json"}
        if path == f"/{SCRIPT}":
            packed = {"Content-Encoding": "gzip"} if is_.packed else {}
            return 200, "x" * SCRIPT_BYTES, packed
        pages = {"/": PAGE, "/version": is_.version}
        return (200, pages[path], {}) if path in pages else (404, "", {})

    def _answer(self, status: int, text: str, more: dict[str, str]) -> None:
        is_ = self.server.behaviour  # type: ignore[attr-defined]
        body = b"" if self.command == "HEAD" or status == 204 else text.encode()
        time.sleep(is_.body_seconds if body else 0)
        self.send_response_only(status)
        self.send_header("Server", is_.server)
        self.send_header("Date", formatdate(time.time() + is_.clock, usegmt=True))
        for key, value in more.items():
            self.send_header(key, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self._headers_buffer.append(b"\r\n" + body)  # one packet, as a good server sends it
        self.flush_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
