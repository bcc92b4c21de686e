"""Servers in threads, and one of them: the machines' way to package registries.

It is a proxy that passes on what is encrypted anyway. A namespace has no way out of its own, and
giving it one would change this computer's settings.
"""

import http.server
import selectors
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any


class Server(http.server.ThreadingHTTPServer):
    """Answers each connection in a thread; says nothing of clients that are gone."""

    # Clients keep their connections open; nobody waits for those.
    daemon_threads = True
    block_on_close = False

    def __init__(
        self, address: tuple[str, int], handler: Any, tls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(address, handler)
        self._tls = tls

    def get_request(self) -> tuple[socket.socket, Any]:
        """The next connection; its own thread shakes hands."""
        connection, client = super().get_request()
        if self._tls is None:
            return connection, client
        secured = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return secured, client

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell what went wrong, unless it is that a client was killed."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, ssl.SSLEOFError)):
            super().handle_error(request, client_address)


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_CONNECT(self) -> None:
        host, _, port = self.path.rpartition(":")
        try:
            there = socket.create_connection((host, int(port)), timeout=30)
        except OSError as error:
            self.send_error(502, str(error))
            return
        with there:
            self.send_response(200)
            self.end_headers()
            pass_on(self.connection, there)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def pass_on(here: socket.socket, there: socket.socket) -> None:
    """Both ways, until one side is done."""
    with selectors.DefaultSelector() as selector:
        selector.register(here, selectors.EVENT_READ, there)
        selector.register(there, selectors.EVENT_READ, here)
        while True:
            for key, _ in selector.select():
                try:
                    data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                    if not data:
                        return
                    key.data.sendall(data)
                except OSError:
                    return


@contextmanager
def way_out(address: str) -> Iterator[str]:
    """The proxy's URL, at an address of this computer."""
    with serving(Server((address, 0), _Handler)) as port:
        yield f"http://{address}:{port}"


@contextmanager
def serving(server: http.server.HTTPServer) -> Iterator[int]:
    """Let a server answer; returns its port."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass(frozen=True)
class Secured:
    """Where a front answers too, as the cloud's own names.

    Attributes:
        address: of this computer, at port 443.
        context: the names, proven to machines that trust their authority.
    """

    address: str
    context: ssl.SSLContext


@contextmanager
def serving_front(address: str, handler: Any, secured: Secured | None) -> Iterator[int]:
    """Let a front answer at an address of this computer; returns its port."""
    with ExitStack() as stack:
        if secured is not None:
            server = Server((secured.address, 443), handler, secured.context)
            stack.enter_context(serving(server))
        yield stack.enter_context(serving(Server((address, 0), handler)))
