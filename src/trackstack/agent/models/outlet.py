"""The way out for what is built within walls: an HTTP proxy on a unix socket.

A package's setup.py may need the network, and runs as whoever deployed. So it gets no network of
its own, but this proxy, which leads to no address of this computer, and not to those at which a
cloud tells a machine its credentials.
"""

import re
import socket
import socketserver
from base64 import b64encode
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import psutil

Network = IPv4Network | IPv6Network

_MOST_HEAD = 64 * 1024
_LENGTH = b"content-length:"
_CONNECT_SECONDS = 20
_IDLE_SECONDS = 600
_PIECE = 1 << 16
_TELLING = frozenset({"fd00:ec2::254", "100.100.100.200", "168.63.129.16"})
"""Where clouds tell credentials, besides the link-local addresses that most use: Amazon by IPv6,
Alibaba, Azure."""

WITHIN = """\
import os, socket, subprocess, sys, threading

way_out = sys.argv[1]


def pass_on(source, sink):
    try:
        while piece := source.recv(65536):
            sink.sendall(piece)
    except OSError:
        pass
    try:
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def serve():
    while True:
        asker, _ = door.accept()
        out = socket.socket(socket.AF_UNIX)
        out.connect(way_out)
        for pair in ((asker, out), (out, asker)):
            threading.Thread(target=pass_on, args=pair, daemon=True).start()


door = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=serve, daemon=True).start()
address = "http://127.0.0.1:%d" % door.getsockname()[1]
names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
proxies = {each: address for name in names for each in (name, name.lower())}
sys.exit(subprocess.call(sys.argv[2:], env={**os.environ, **proxies}))
"""
"""Run within the walls: has a port there lead to the proxy's socket, and runs a command with it."""


def may_be_reached(address: str, closed: Collection[Network] = ()) -> bool:
    """Whether an IP address is neither this computer nor closed, and tells no credentials."""
    read = ip_address(address.partition("%")[0])
    if isinstance(read, IPv6Address) and read.ipv4_mapped is not None:
        read = read.ipv4_mapped
    own = {each.address for those in psutil.net_if_addrs().values() for each in those}
    return not (
        read.is_loopback
        or read.is_link_local
        or read.is_unspecified
        or read.is_multicast
        or str(read) in _TELLING
        or str(read) in own
        or any(read in network for network in closed)
    )


def networks_here() -> list[Network]:
    """The networks that this computer, or container, is in."""
    found = [each for those in psutil.net_if_addrs().values() for each in those]
    return [
        ip_network(
            (each.address.partition("%")[0], int(ip_address(each.netmask)).bit_count()), False
        )
        for each in found
        if each.family in (socket.AF_INET, socket.AF_INET6) and each.netmask
    ]


@contextmanager
def running(path: Path, mode: int = 0o600, closed: Collection[Network] = ()) -> Iterator[None]:
    """The proxy on a socket, as long as it is needed; it leads to no closed network either."""
    path.unlink(missing_ok=True)
    server = _Server(str(path), _Request)
    server.closed = closed
    path.chmod(mode)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        path.unlink(missing_ok=True)


class _RefusedError(Exception):
    """Where one may not go; the text says where."""


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128
    closed: Collection[Network] = ()

    def handle_error(self, *_: object) -> None:
        """Quiet: one of both sides went away."""


class _Request(socketserver.BaseRequestHandler):
    request: socket.socket
    server: _Server

    def handle(self) -> None:
        head = _head(self.request)
        method, _, rest = head.decode("latin-1").partition(" ")
        target = rest.partition(" ")[0]
        parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
        tls = method == "CONNECT"
        if parts.hostname is None:
            self._say(HTTPStatus.BAD_REQUEST)
            return
        try:
            out, through = _connect(
                parts.hostname, parts.port or (443 if tls else 80), tls, self.server.closed
            )
        except _RefusedError:
            self._say(HTTPStatus.FORBIDDEN)
            return
        except (OSError, ValueError):
            self._say(HTTPStatus.BAD_GATEWAY)
            return
        with out:
            more = None
            if through is not None and not tls:
                try:
                    head, more = only_one(head)
                except ValueError:
                    self._say(HTTPStatus.BAD_REQUEST)
                    return
            if through is not None:
                line, _, headers = head.partition(b"\r\n")
                out.sendall(line + b"\r\n" + through + headers)
            elif tls:
                self.request.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                out.sendall(head)  # a whole address stands in it, which every server has to take
            back = Thread(target=_pass_on, args=(out, self.request), daemon=True)
            back.start()
            _pass_on(self.request, out, more)
            back.join()

    def _say(self, status: HTTPStatus) -> None:
        self.request.sendall(
            f"HTTP/1.1 {status} {status.phrase}\r\nConnection: close\r\n\r\n".encode()
        )


def _head(asker: socket.socket) -> bytes:
    """What is sent up to the body; also what came with it."""
    asker.settimeout(_IDLE_SECONDS)
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _MOST_HEAD:
        piece = asker.recv(_PIECE)
        if not piece:
            break
        head += piece
    return head


def only_one(head: bytes) -> tuple[bytes, int]:
    """A request that no second one follows, which nobody would have looked at.

    Args:
        head: of a request, and what came with it.

    Returns:
        What to pass on of it, and how many bytes of its body are still to come.

    Raises:
        ValueError: where it ends is not plain.
    """
    told, _, body = head.partition(b"\r\n\r\n")
    line, *headers = told.split(b"\r\n")
    names = [each.partition(b":")[0].lower() for each in headers]
    lengths = [each.partition(b":")[2].strip() for each in headers if each[:15].lower() == _LENGTH]
    if (
        any(each in told.replace(b"\r\n", b"") for each in (b"\r", b"\n", b"\0"))
        or any(re.fullmatch(rb"[A-Za-z0-9-]+", name) is None for name in names)
        or b"transfer-encoding" in names
        or len(lengths) > 1
        or not all(each.isdigit() for each in lengths)
    ):
        raise ValueError("it is not plain where it ends")
    length = int(lengths[0]) if lengths else 0
    kept = [
        each
        for each, name in zip(headers, names, strict=True)
        if name not in {b"connection", b"proxy-connection", b"keep-alive", b"upgrade"}
    ]
    whole = b"\r\n".join([line, *kept, b"Connection: close", b"", b""]) + body[:length]
    return whole, max(length - len(body), 0)


def _connect(
    host: str, port: int, tls: bool, closed: Collection[Network]
) -> tuple[socket.socket, bytes | None]:
    """A connection to where somebody wants to go, and what to tell a proxy that lies between."""
    proxy = None if proxy_bypass(host) else getproxies().get("https" if tls else "http")
    address = _address(host, port, closed, must_be_known=proxy is None)
    if proxy is None:
        # To what was looked at: the name might mean another address when it is asked again.
        return _reach(address, port), None
    between = urlsplit(proxy)
    through = b""
    if between.username is not None:
        login = f"{unquote(between.username)}:{unquote(between.password or '')}"
        through = b"Proxy-Authorization: Basic " + b64encode(login.encode()) + b"\r\n"
    return _reach(str(between.hostname), between.port or 80), through


def _address(host: str, port: int, closed: Collection[Network], must_be_known: bool) -> str:
    try:
        found = {
            str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        }
    except OSError:
        if must_be_known:
            raise
        return host
    if not all(may_be_reached(each, closed) for each in found):
        raise _RefusedError(host)
    return min(found, key=lambda each: isinstance(ip_address(each), IPv6Address))


def _reach(address: str, port: int) -> socket.socket:
    made = socket.create_connection((address, port), timeout=_CONNECT_SECONDS)
    made.settimeout(_IDLE_SECONDS)
    return made


def _pass_on(source: socket.socket, sink: socket.socket, most: int | None = None) -> None:
    """Pass on all that comes, or so many bytes; then the other end closes, having answered."""
    try:
        while most != 0 and (piece := source.recv(_PIECE if most is None else min(most, _PIECE))):
            sink.sendall(piece)
            most = None if most is None else most - len(piece)
        if most != 0:  # it went before it had said all
            sink.shutdown(socket.SHUT_WR)
    except OSError:
        return
