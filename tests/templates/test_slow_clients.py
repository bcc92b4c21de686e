"""Slow clients take up no place that others need."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from front import Front

SLOW = 300
BEGINNINGS = [
    ("a request line without an end", b"GET / HTT"),
    ("headers without an end", b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: b\r\n"),
    ("nothing at all", b""),
    (
        "a body that does not come",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nx",
    ),
]


@contextmanager
def held(front: Front, begun: bytes) -> Iterator[list[socket.socket]]:
    with ExitStack() as all_of_them:
        made = [all_of_them.enter_context(front.connect()) for _ in range(SLOW)]
        for each in made:
            each.sendall(begun)
        yield made


@pytest.mark.parametrize(("what", "begun"), BEGINNINGS, ids=[what for what, _ in BEGINNINGS])
def test_others_are_served_beside_300_slow_clients(
    own_front: Front, what: str, begun: bytes
) -> None:
    with held(own_front, begun):
        started = time.monotonic()
        statuses = [own_front.ask_as_ada("/beside").status for _ in range(20)]
        seconds = time.monotonic() - started
    assert statuses == [200] * 20, what
    assert seconds < 5, f"20 requests took {seconds:.1f} s beside {SLOW} clients with {what}"
