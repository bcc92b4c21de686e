"""The front as others reach it: with TLS or behind a proxy, on loopback addresses of Linux."""

import socket
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from front import (
    DEADLINE_SECONDS,
    PASSWORD,
    USER,
    Answer,
    Front,
    _running_nginx,
    authorization,
    exchange,
    lay_out,
    running_upstream,
)

from kits import free_port
from trackstack import credentials
from trackstack.agent import folders
from trackstack.agent.ensure_certificates import ensure_certificates
from trackstack.agent.ensure_users import let_in
from trackstack.agent.round import Round
from trackstack.agent.supervisor import Supervisor
from trackstack.cloud_plan import Cloud
from trackstack.control.directory import DirectoryStore
from trackstack.desired import AUTHORITIES_KEY, Change, Release
from trackstack.outputs import Outputs
from trackstack.plan import Mlflow, Nginx, Plan
from trackstack.release import render_release

ADDRESS, PROXY, NEIGHBOUR = "127.0.0.2", "127.0.0.3", "127.0.0.4"
"""In the plan, `ADDRESS` is beyond this computer; no spec may ask for it."""
NAME = "mlflow.example.com"
ADA = f"{USER}:{PASSWORD}".encode()


@dataclass(frozen=True)
class Exposed(Front):
    """A running nginx that listens on ADDRESS too.

    Attributes:
        authorities: what a client has to trust, PEM; empty for plain HTTP.
    """

    authorities: str = ""

    def reach(self, source: str = NEIGHBOUR) -> socket.socket:
        """A connection from one of this computer's addresses, without TLS."""
        return socket.create_connection(
            (ADDRESS, self.port), timeout=DEADLINE_SECONDS, source_address=(source, 0)
        )

    def trusting(self) -> ssl.SSLContext:
        """A client as strict as Python 3.13's."""
        context = ssl.create_default_context(cadata=self.authorities)
        context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
        return context

    @contextmanager
    def shaking_hands(
        self, name: str = NAME, context: ssl.SSLContext | None = None
    ) -> Iterator[ssl.SSLSocket]:
        """A connection with TLS to the server of that name."""
        with self.reach() as bare:
            chosen = context or self.trusting()
            with chosen.wrap_socket(bare, server_hostname=name) as connection:
                yield connection

    def request(
        self,
        path: str,
        method: str = "GET",
        *,
        host: str | None = None,
        login: bytes | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        body: bytes = b"",
    ) -> bytes:
        """The bytes of a request; by default for NAME and from nobody."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host or f'{NAME}:{self.port}'}"]
        lines += ["Connection: close", *[f"{name}: {value}" for name, value in headers]]
        lines += [authorization(login)] if login is not None else []
        lines += [f"Content-Length: {len(body)}"] if body else []
        return "\r\n".join([*lines, "", ""]).encode() + body

    def over_tls(self, data: bytes, name: str = NAME) -> Answer:
        with self.shaking_hands(name) as connection:
            return exchange(connection, data)

    def in_clear(self, data: bytes, source: str = NEIGHBOUR) -> Answer:
        with self.reach(source) as connection:
            return exchange(connection, data)

    def keep_previous(self, name: str, password: str) -> None:
        """What the agent does for a password on its way out."""
        with chdir(self.machine):
            let_in(name, f"{name}:{credentials.hash_password(password)}\n", "previous")


class _NothingRuns(Supervisor):
    """The machine before its first start."""

    def running(self, service: str) -> bool:
        return service == "supervisor"


@contextmanager
def running(
    tls: str, names: tuple[str, ...] = (NAME,), cloud: Cloud | None = None
) -> Iterator[Exposed]:
    """An nginx that others reach, with one user and an upstream; all gone afterwards.

    Args:
        tls: 'own' or 'upstream', as in a plan.
        names: what clients call it, beside ADDRESS.
        cloud: what it is in.
    """
    with tempfile.TemporaryDirectory(prefix="front-", dir="/tmp") as folder:
        machine = Path(folder).resolve() / "m"
        machine.mkdir()
        port = free_port()
        release = make_release(port, tls, names, cloud)
        lay_out(machine, release)
        authorities = certify(machine, release)
        with running_upstream(machine / folders.mlflow_socket(release.mlflow)) as upstream:
            made = Exposed(
                machine,
                port,
                release,
                upstream,
                log=machine / folders.NGINX_LOG,
                errors=machine / folders.NGINX_ERRORS,
                authorities=authorities,
            )
            made.let_in(USER, PASSWORD)
            with _running_nginx(made):
                yield made


def make_release(
    port: int, tls: str, names: tuple[str, ...], cloud: Cloud | None = None
) -> Release:
    called = (*names, ADDRESS)
    nginx = Nginx(
        address=ADDRESS,
        port=port,
        names=called,
        hosts=tuple(f"{name}:{port}" for name in ("127.0.0.1", "localhost", *called)),
        tls=tls,  # type: ignore[arg-type]
        proxies=(f"{PROXY}/32",) if tls == "upstream" else (),
    )
    mlflow = Mlflow(version="3.17.2", workers=1, database="sqlite:///x", artifacts="x")
    plan = Plan(
        target="local", environment="test", nginx=nginx, mlflow=mlflow, packages="", cloud=cloud
    )
    outputs = Outputs(url=f"https://{names[0]}:{port}", machine="local")
    change = Change(at=datetime.now(UTC), who="tests", where="here", what="make it")
    return Release.model_validate({**render_release(plan, outputs), "change": change})


def certify(machine: Path, release: Release) -> str:
    """The certificates by the agent's own step; returns the authorities it tells clients."""
    store = DirectoryStore(machine.parent / "control")
    with chdir(machine):
        ensure_certificates(Round(_NothingRuns(), store, datetime.now(UTC), None, release, None))
    stored = store.get(AUTHORITIES_KEY)
    return stored.data.decode() if stored else ""
