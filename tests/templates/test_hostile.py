"""The requests of hostile.yaml, on the listener for this computer and on the one for others."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from exposed import ADA, NAME, NEIGHBOUR, Exposed, running
from front import PASSWORD, Request, authorization

ROWS: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "hostile.yaml").read_text())
_REPEATED = {"x": lambda _: "x", "h": lambda n: f"X-{n}: a\r\n", "r": lambda n: f",{n}-"}


@dataclass(frozen=True)
class Listener:
    """One of the two doors of a server.

    Attributes:
        host: the right Host here.
        client: the address that a client here comes from.
    """

    server: Exposed
    scheme: str
    host: str
    client: str

    def status(self, data: bytes) -> int:
        """The status of the first answer; 0 for none. HTTP/0.9 has it in the page only."""
        over_tls = self.scheme == "https"
        raw = (self.server.over_tls(data) if over_tls else self.server.send(data)).raw
        found = re.search(rb"\b[1-5][0-9]{2}\b", raw)
        return int(found[0]) if found else 0

    def filled(self, text: str) -> str:
        """A text of the table with what is this listener's."""
        words = {"host": self.host, "scheme": self.scheme, "from": self.client}
        for word, value in {**words, "ada": authorization(ADA)}.items():
            text = text.replace(f"<{word}>", value)
        return text

    def bytes_of(self, row: dict[str, Any]) -> bytes:
        """What a row sends."""
        text = self.filled(row["send"]).replace("<path>", f"/hostile-{ROWS.index(row)}")
        text = f"{text}\n".replace("\n", "\r\n")
        for kind, make in _REPEATED.items():
            text = re.sub(
                rf"<{kind} (\d+)>",
                lambda found, make=make: "".join(map(make, range(int(found[1])))),  # type: ignore[misc]
                text,
            )
        return text.encode().decode("unicode_escape").encode("latin-1")


@pytest.fixture(scope="module")
def server() -> Iterator[Exposed]:
    with running("own") as made:
        yield made
        told = made.errors.read_text()
    assert not told, f"nginx complained:\n{told}"


@pytest.fixture(params=["http", "https"])
def listener(server: Exposed, request: pytest.FixtureRequest) -> Listener:
    if request.param == "http":
        return Listener(server, "http", server.host, "127.0.0.1")
    return Listener(server, "https", f"{NAME}:{server.port}", NEIGHBOUR)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["what"])
def test_a_hostile_request_gets_its_answer_and_mlflow_hears_what_it_may(
    listener: Listener, row: dict[str, Any]
) -> None:
    before = len(listener.server.upstream.requests)
    status = listener.status(listener.bytes_of(row))
    heard = listener.server.upstream.requests[before:]
    assert status in row["answers"], f"answered with {status}; MLflow heard {heard}"
    expected: dict[str, list[str]] | None = row.get("mlflow")
    assert len(heard) <= (expected is not None), f"MLflow heard {heard}"
    for request in heard:
        assert not re.search("smuggled|forged", _head(request)), "it got past nginx"
        assert PASSWORD not in _head(request)
        values = {name: request.values(name) for name in expected or {}}
        wanted = {name: list(map(listener.filled, each)) for name, each in (expected or {}).items()}
        assert values == wanted


def test_each_row_has_a_name_of_its_own() -> None:
    names = [row["what"] for row in ROWS]
    assert len(set(names)) == len(names)


def _head(request: Request) -> str:
    return f"{request.method} {request.path} {request.headers}"
