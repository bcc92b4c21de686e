"""Stands in for get.pulumi.com: what is asked of it through a proxy, it answers itself.

The SDK has the host's name and its https in its source. HTTPS_PROXY leads to here, and
SSL_CERT_FILE has the client trust the authority of the certificate that is shown.
"""

import http.server
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from engine.world.serving import Server, serving
from trackstack.agent.certificates import make_authority, make_leaf

_HOST = "get.pulumi.com"


@contextmanager
def pulumi_host(folder: Path, script: str | None) -> Iterator[dict[str, str]]:
    """Variables of a shell whose way to the host leads here.

    Args:
        folder: of this host only.
        script: the install script that it has, or None while it is out of order.
    """
    folder.mkdir()
    now = datetime.now(UTC)
    authority = make_authority(_HOST, now)
    leaf = make_leaf(authority, _HOST, now)
    (folder / "authority.pem").write_bytes(authority.certificate)
    (folder / "leaf.pem").write_bytes(leaf.certificate + leaf.key)
    shown = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    shown.load_cert_chain(folder / "leaf.pem")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            self.send_response(200)
            self.end_headers()
            with shown.wrap_socket(self.connection, server_side=True) as inside:
                asked = b""
                while b"\r\n\r\n" not in asked:
                    asked += inside.recv(65536)
                there = script is not None and asked.startswith(b"GET /install.sh ")
                status = "200 OK" if there else "503 Service Unavailable"
                body = (script or "").encode()
                head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n"
                inside.sendall(head.encode() + body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with serving(Server(("127.0.0.1", 0), Handler)) as port:
        yield {
            "HTTPS_PROXY": f"http://127.0.0.1:{port}",
            "SSL_CERT_FILE": str(folder / "authority.pem"),
        }
