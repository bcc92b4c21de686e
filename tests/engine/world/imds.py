"""A machine's metadata on EC2, version 2 only: each machine is known by its address.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html
"""

import http.server
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from secrets import token_hex

from engine.world.serving import Server, serving

Metadata = Callable[[str], Mapping[str, str] | None]
"""What a machine may know, by paths below /latest; None for an address that is no machine's."""

_TTL = "X-aws-ec2-metadata-token-ttl-seconds"


def credentials(key: Mapping[str, str], expires: str) -> str:
    """Credentials as the metadata service writes them.

    Args:
        key: the variables of a shell.
        expires: as in '2026-01-02T03:04:05Z'.
    """
    return json.dumps(
        {
            "Code": "Success",
            "Type": "AWS-HMAC",
            "LastUpdated": expires,
            "AccessKeyId": key["AWS_ACCESS_KEY_ID"],
            "SecretAccessKey": key["AWS_SECRET_ACCESS_KEY"],
            "Token": key["AWS_SESSION_TOKEN"],
            "Expiration": expires,
        }
    )


@contextmanager
def metadata_service(address: str, metadata: Metadata) -> Iterator[str]:
    """Its URL, at an address of this computer."""
    tokens: dict[str, str] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            machine = self.client_address[0]
            if self.path != "/latest/api/token" or not self.headers.get(_TTL, "").isdigit():
                self._answer(400, "")
                return
            token = token_hex(20)
            tokens[token] = machine
            self._answer(200, token)

        def do_GET(self) -> None:
            machine = self.client_address[0]
            if tokens.get(self.headers.get("X-aws-ec2-metadata-token", "")) != machine:
                self._answer(401, "")
                return
            known = metadata(machine) or {}
            path = re.sub(r"^/(latest|[0-9]{4}-[0-9]{2}-[0-9]{2})/", "", self.path)
            # In a list, what has something below it ends with a slash.
            folder = f"{path.rstrip('/')}/"
            below = sorted(
                {
                    "".join(name.removeprefix(folder).partition("/")[:2])
                    for name in known
                    if name.startswith(folder)
                }
            )
            found = known.get(path, "\n".join(below))
            self._answer(200 if found else 404, found)

        def _answer(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with serving(Server((address, 0), Handler)) as port:
        yield f"http://{address}:{port}"
