"""Guesses are slowed down by name and address; a right password never is."""

import time
from collections.abc import Iterator

import pytest
from exposed import Exposed, running
from front import PASSWORD, USER, Front

BURST = 20


@pytest.fixture
def server() -> Iterator[Exposed]:
    with running("upstream") as made:
        yield made
        assert not made.errors.read_text()


def statuses(front: Front, login: bytes | None, count: int) -> list[int]:
    return [front.ask("/", login=login).status for _ in range(count)]


def test_a_row_of_guesses_ends_in_429_and_reaches_nobody(server: Exposed) -> None:
    before = len(server.upstream.requests)
    seen = statuses(server, b"ada:wrong", 2 * BURST)
    assert seen[:BURST] == [401] * BURST
    assert seen[-1] == 429
    assert set(seen) == {401, 429}
    assert len(server.upstream.requests) == before


def test_a_right_password_is_let_in_at_once_among_guesses_at_its_own_name(
    server: Exposed,
) -> None:
    assert statuses(server, f"{USER}:wrong".encode(), 2 * BURST)[-1] == 429
    taken = []
    for _ in range(40):
        begun = time.monotonic()
        assert statuses(server, f"{USER}:{PASSWORD}".encode(), 1) == [200]
        taken.append(time.monotonic() - begun)
    # A request that is held up at this rate waits for two seconds. A computer may stop for as long.
    assert sum(each >= 2 for each in taken) <= 1, taken


def test_others_behind_the_same_address_are_neither_held_up_nor_shut_out(
    server: Exposed,
) -> None:
    server.let_in("grace", "hers")
    assert statuses(server, b"ada:wrong", 2 * BURST)[-1] == 429
    assert server.ask("/", login=b"grace:hers").status == 200
    assert server.ask("/", login=b"grace:mistyped").status == 401


def test_who_says_no_name_is_asked_for_it_however_often(server: Exposed) -> None:
    assert statuses(server, None, 3 * BURST) == [401] * (3 * BURST)


@pytest.mark.parametrize("path", ["/", "/health", "/gateway/x", "/ajax-api/2.0/mlflow/runs/create"])
def test_a_429_is_the_same_for_a_name_there_is_and_one_there_is_not(
    server: Exposed, path: str
) -> None:
    last = []
    for login in (b"ada:wrong", b"nobody:wrong"):
        statuses(server, login, 2 * BURST)
        last.append(server.ask(path, login=login))
    assert [each.status for each in last] == [429, 429]
    assert last[0].timeless == last[1].timeless
