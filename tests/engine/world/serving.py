"""Servers in threads, and one of them: the machines' way to package registries.

It is a proxy that passes on what is encrypted anyway. A namespace has no way out of its own, and
giving it one would change this computer's settings.
"""

import http.server
import selectors
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Server(http.server.ThreadingHTTPServer):
    """Answers each connection in a thread; says nothing of clients that are gone."""

    # Clients keep their connections open; nobody waits for those.
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell what went wrong, unless it is that a client was killed."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
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
            _pass_on(self.connection, there)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _pass_on(here: socket.socket, there: socket.socket) -> None:
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
