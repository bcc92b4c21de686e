"""A machine's metadata on Compute Engine: each machine is known by its address.

https://cloud.google.com/compute/docs/metadata/querying-metadata
"""

import http.server
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from engine.world.serving import Server, serving

Metadata = Callable[[str], Mapping[str, str] | None]
"""What a machine may know, by paths below /computeMetadata/v1; None for no machine's address."""


@contextmanager
def metadata_service(address: str, metadata: Metadata) -> Iterator[str]:
    """Its URL, at an address of this computer."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = metadata(self.client_address[0])
            path = urlsplit(self.path).path.removeprefix("/computeMetadata/v1/")
            if self.headers.get("Metadata-Flavor") != "Google":
                self._answer(403, "Missing Metadata-Flavor:Google header.")
            elif known is None or (path not in known and path != "/"):
                self._answer(404, "")
            else:
                self._answer(200, known.get(path, ""))

        def _answer(self, status: int, text: str) -> None:
            kind = "application/json" if text.startswith("{") else "application/text"
            self.send_response(status)
            self.send_header("Metadata-Flavor", "Google")
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with serving(Server((address, 0), Handler)) as port:
        yield f"http://{address}:{port}"
