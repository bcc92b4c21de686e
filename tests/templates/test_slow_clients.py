"""Slow clients take up no place that others need."""

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from exposed import ADA, NAME, Exposed, running
from front import Front, authorization

from kits import eventually

SLOW = 300
TIMES_AS_LONG = 5
"""What a request may take beside slow clients, against one without them."""
SECONDS = 5
"""For that, whatever else this computer is at; nginx waits three times as long for headers."""

_BODY = "Content-Length: 99\r\n\r\nx"
BEGINNINGS = {
    "a request line without an end": "GET / HTT",
    "headers without an end": "GET / HTTP/1.1\r\nHost: {host}\r\nX-A: b\r\n",
    "nothing at all": "",
    "a stranger's body that does not come": "POST /x HTTP/1.1\r\nHost: {host}\r\n" + _BODY,
    "a user's body that does not come": "POST /x HTTP/1.1\r\nHost: {host}\r\n{login}\r\n" + _BODY,
}


@pytest.fixture(scope="module")
def server() -> Iterator[Exposed]:
    with running("own") as made:
        yield made


@contextmanager
def held(server: Exposed, begun: str, over_tls: bool) -> Iterator[None]:
    """Hold so many connections on each of which a request has begun."""
    context = server.trusting()
    name = NAME if over_tls else "localhost"
    data = begun.format(host=name, login=authorization(ADA)).encode()
    with ExitStack() as all_of_them:
        for _ in range(SLOW):
            bare = all_of_them.enter_context(server.reach() if over_tls else server.connect())
            if over_tls:
                bare = context.wrap_socket(bare, server_hostname=name)
                all_of_them.enter_context(bare)
            bare.sendall(data)
        yield


def seconds_of_a_request(front: Front) -> float:
    """The median of one request on a connection of its own."""
    taken = []
    for _ in range(30):
        begun = time.perf_counter()
        assert front.ask_as_ada("/beside").status == 200
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


@pytest.mark.parametrize("over_tls", [False, True], ids=["clear", "tls"])
@pytest.mark.parametrize("begun", BEGINNINGS.values(), ids=BEGINNINGS)
def test_others_are_served_beside_300_slow_clients(
    server: Exposed, begun: str, over_tls: bool
) -> None:
    alone = seconds_of_a_request(server)
    beside: list[float] = []

    def soon_enough() -> bool:
        beside.append(seconds_of_a_request(server))
        return beside[-1] < TIMES_AS_LONG * alone

    with held(server, begun, over_tls):
        assert eventually(soon_enough, SECONDS), (
            f"{min(beside) * 1e3:.1f} ms, alone {alone * 1e3:.1f} ms"
        )
