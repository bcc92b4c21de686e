"""Clients that let a server wait: each does one byte at a time, and holds its connection."""

import base64
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from box.deployed import NAME, USER, Box

_BODY_BYTES = 10_000
_WINDOW_BYTES = 4096
"""So little of an answer is on its way to a client that reads slowly; the rest waits."""
_PATIENCE_SECONDS = 30.0


def sending(method: str, path: str) -> str:
    """The head of a request whose body a client then sends slowly."""
    kind = "application/json" if method == "POST" else "application/octet-stream"
    return f"{method} {path} HTTP/1.1\r\nContent-Type: {kind}\r\nContent-Length: {_BODY_BYTES}\r\n"


def asking(path: str) -> str:
    """The head of a request whose answer a client then reads slowly."""
    return f"GET {path} HTTP/1.1\r\n"


@contextmanager
def holding(box: Box, heads: Sequence[str]) -> Iterator[list[ssl.SSLSocket]]:
    """Connections from the host inside, on each of which a request has begun.

    Args:
        heads: what is asked on each, without the host, the login and the empty line.
    """
    address = box.machine.address
    login = base64.b64encode(f"{USER}:{box.password()}".encode()).decode()
    known = f"Host: {address}\r\nAuthorization: Basic {login}\r\n\r\n"
    context = ssl.create_default_context(cafile=box.laptop.folder(NAME) / "ca.pem")

    with ExitStack() as all_of_them:

        def connected(head: str) -> ssl.SSLSocket:
            bare = all_of_them.enter_context(socket.socket())
            bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _WINDOW_BYTES)
            bare.settimeout(_PATIENCE_SECONDS)
            bare.connect((address, 443))
            made = all_of_them.enter_context(context.wrap_socket(bare, server_hostname=address))
            made.sendall(f"{head}{known}".encode())
            return made

        yield box.inside.inside(lambda: [connected(head) for head in heads])


def send_a_byte(clients: Sequence[ssl.SSLSocket]) -> None:
    """Have each send one more of its body; it fails where the server hung up."""
    for client in clients:
        client.sendall(b" ")


def read_a_byte(clients: Sequence[ssl.SSLSocket]) -> None:
    """Have each read one more of its answer; it fails where there is no more."""
    for client in clients:
        assert client.recv(1), "a client that reads slowly was cut off"
