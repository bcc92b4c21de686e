"""Talks to a server that anybody may have deployed: few requests, counted, none that changes it.

What may be sent is in `READ_ONLY`; everything else is refused here, whatever a check asks for.
"""

import http.client
import ipaddress
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx
from cryptography import x509

from trackstack.errors import NotProvenError, UsageError
from trackstack.operations.users import Login
from trackstack.tracking import http_client

VERSION = "/version"
SEARCH = "/api/2.0/mlflow/experiments/search"
READ = f"{SEARCH}?max_results=1"
UPLOADS = "/api/2.0/mlflow-artifacts/artifacts/trackstack-doctor"
READ_ONLY = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods that may go anywhere. POST may go to SEARCH, which only reads, and nowhere else."""

_REDIRECTS = 3
_ANNOUNCED_SECONDS = 5.0


@dataclass(frozen=True)
class Shown:
    """The certificate a server showed, and how the connection was made.

    Attributes:
        distrust: why this computer does not trust it, or None.
        until: when the certificate runs out.
        protocol: such as 'TLSv1.3'.
    """

    distrust: str | None
    until: datetime | None
    protocol: str | None


class Visit:
    """One server, as a stranger and, when there is a login, as its user.

    Attributes:
        url: where it is, redirects followed.
        requests: how many were sent.
        front: what a stranger gets of its first page.
        shown: its certificate; None without TLS.
        login_sent: whether the login is used: never in clear, never to somebody unproven.
    """

    def __init__(self, url: str, login: Login | None, authorities: Path | None) -> None:
        self.url = server_address(url)
        self.requests = 0
        self.shown: Shown | None = None
        self.front: httpx.Response
        self._login = login
        self._authorities = authorities
        self._connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    @property
    def host(self) -> str:
        """The name or address in the URL."""
        return httpx.URL(self.url).host

    @property
    def on_loopback(self) -> bool:
        """Whether no network lies between here and the server."""
        return is_loopback(self.host)

    @property
    def is_private(self) -> bool:
        """Whether what is sent can be read by nobody on the way to the wrong server."""
        if self.shown is None:
            return not is_in_clear(self.url)
        return self.shown.distrust is None

    @property
    def login_sent(self) -> bool:
        """Whether there is a login that may be sent."""
        return self._login is not None and self.is_private

    def ask(
        self,
        method: str,
        path: str = "/",
        *,
        known: bool = False,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """One request; what it brings is read whole.

        Args:
            method: one of READ_ONLY, or POST to SEARCH.
            path: below the URL.
            known: whether to show the login.
            headers: more of them.
        """
        with self.head_of(method, path, known=known, headers=headers) as answer:
            answer.read()
        return answer

    @contextmanager
    def head_of(
        self,
        method: str,
        path: str,
        *,
        known: bool = False,
        headers: dict[str, str] | None = None,
    ) -> Iterator[httpx.Response]:
        """One request, of whose answer only the head is read; see ask."""
        assert method in READ_ONLY or (method, path) == ("POST", SEARCH)  # noqa: S101
        body = {"max_results": 1} if method == "POST" else None
        self.requests += 1
        with self._http.stream(
            method, path, json=body, headers=headers, auth=self._auth(known)
        ) as answer:
            yield answer

    def timed(self, method: str, path: str, times: int, known: bool) -> tuple[float, int]:
        """How long a request takes over the connection that is open already.

        Returns:
            Milliseconds, the best of several, and the status of the last answer. Whatever else
            the computers and the network do at the time only ever adds.
        """
        taken, status = [], 0
        for _ in range(times):
            started = time.monotonic()
            status = self.ask(method, path, known=known).status_code
            taken.append((time.monotonic() - started) * 1000)
        return min(taken), status

    def announced(self, size: int) -> int | None:
        """The status by which a server answers an upload that is announced and never sent.

        It is announced by POST where MLflow only knows GET, PUT and DELETE, waits for leave to
        send (`Expect: 100-continue`), and hangs up without a byte of it.

        Returns:
            The status, 100 for 'go on', or None when there was no answer in time.
        """
        parts = urlsplit(self.url)
        host, port = parts.hostname or "", parts.port
        connection = (
            http.client.HTTPSConnection(
                host, port, timeout=_ANNOUNCED_SECONDS, context=self._context()
            )
            if parts.scheme == "https"
            else http.client.HTTPConnection(host, port, timeout=_ANNOUNCED_SECONDS)
        )
        self.requests += 1
        try:
            connection.putrequest("POST", parts.path.rstrip("/") + UPLOADS)
            connection.putheader("Content-Length", str(size))
            connection.putheader("Expect", "100-continue")
            connection.putheader("Connection", "close")
            connection.endheaders()
            line = connection.sock.recv(64).decode("latin-1").split()
            return int(line[1])
        except (OSError, http.client.HTTPException, ValueError, IndexError):
            return None
        finally:
            connection.close()

    def _auth(self, known: bool) -> httpx.BasicAuth | None:
        if not (known and self._login is not None and self.login_sent):
            return None
        return httpx.BasicAuth(self._login.user, self._login.password)

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self._authorities)
        if self.shown is not None and self.shown.distrust:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _connect(self) -> None:
        """Reach the server, following it to where it sends everybody."""
        for _ in range(_REDIRECTS + 1):
            answer = self._first_answer()
            there = answer.headers.get("location") if answer.is_redirect else None
            target = httpx.URL(self.url).join(there) if there else None
            # To TLS or to another path of the same server; a login page elsewhere is not ours.
            if target is None or target.host != self.host or target.path != answer.url.path:
                return
            self._http.close()
            self.url = server_address(str(target.copy_with(query=None)))

    def _first_answer(self) -> httpx.Response:
        self.shown = None
        self._http = http_client(self.url, self._authorities)
        try:
            return self._look()
        except httpx.ConnectError as error:
            self._http.close()
            if "CERTIFICATE_VERIFY_FAILED" not in str(error):
                raise unreachable(self.url, error) from error
            self.shown = Shown(_reason(error), None, None)
            self._http = httpx.Client(
                base_url=self.url, verify=self._context(), trust_env=False, timeout=20
            )
        except httpx.HTTPError as error:
            self._http.close()
            raise unreachable(self.url, error) from error
        try:
            return self._look()
        except httpx.HTTPError as error:
            self._http.close()
            raise unreachable(self.url, error) from error

    def _look(self) -> httpx.Response:
        with self.head_of("GET", "/") as answer:
            # None in plain HTTP.
            stream = answer.extensions["network_stream"].get_extra_info("ssl_object")
            if stream is not None:
                self.shown = _shown(stream, self.shown.distrust if self.shown else None)
            answer.read()
        self.front = answer
        return answer


def server_address(value: str) -> str:
    """The address of a server as a person may type it.

    Raises:
        UsageError: it is none, or carries a password.
    """
    try:
        parts = urlsplit(value)
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_fits = urlsplit(""), False
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            "An address with a login in it ends in the shell's history and the process list.",
            "Leave it out and say `--user NAME`; the password is asked for.",
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_fits:
        raise UsageError(
            f"{value!r} is not the address of a server.",
            "Write it as https://mlflow.example.com or http://127.0.0.1:5000.",
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def is_loopback(host: str) -> bool:
    """Whether a host is this computer itself, so that no network can listen in."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def is_in_clear(url: str) -> bool:
    """Whether others on the way could read what is sent there."""
    parts = httpx.URL(url)
    return parts.scheme == "http" and not is_loopback(parts.host)


def _shown(stream: ssl.SSLObject | ssl.SSLSocket, distrust: str | None) -> Shown:
    raw = stream.getpeercert(True)  # httpx may hand over the bare one, without keywords
    until = x509.load_der_x509_certificate(raw).not_valid_after_utc if raw else None
    return Shown(distrust, until, stream.version())


def _reason(error: httpx.ConnectError) -> str:
    told = str(error)
    return told.partition("verify failed: ")[2].partition(" (_ssl")[0] or told


def unreachable(url: str, error: httpx.HTTPError) -> NotProvenError:
    """The error for a server of which nothing is seen."""
    return NotProvenError(
        f"{url} does not answer: {str(error) or type(error).__name__}.",
        "Check the address, and that this computer may connect to it.",
    )
