"""Behind a proxy that ends TLS: its word on who asks is believed, and nobody else's."""

import json
from collections.abc import Iterator

import pytest
from exposed import ADA, ADDRESS, NAME, NEIGHBOUR, PROXY, Exposed, running

CLIENT = "203.0.113.9"


@pytest.fixture(scope="module")
def server() -> Iterator[Exposed]:
    with running("upstream") as made:
        yield made
        assert not made.errors.read_text()


def forwarded(server: Exposed, path: str, *chain: str, login: bytes | None = ADA) -> bytes:
    """As a proxy passes it on: the name without a port, and who asked."""
    headers = (("X-Forwarded-For", ", ".join(chain)), ("X-Forwarded-Proto", "https"))
    return server.request(path, host=NAME, login=login, headers=headers)


CHAINS = [
    ((CLIENT,), CLIENT),
    (("6.6.6.6", CLIENT), CLIENT),
    ((CLIENT, PROXY), CLIENT),
    (("not an address", CLIENT), CLIENT),
]


@pytest.mark.parametrize(("chain", "believed"), CHAINS)
def test_a_proxy_says_who_asks_and_what_the_client_itself_says_does_not_count(
    server: Exposed, chain: tuple[str, ...], believed: str
) -> None:
    path = f"/asked/{'-'.join(chain).replace(' ', '.')}/"
    assert server.in_clear(forwarded(server, path, *chain), PROXY).status == 200
    (heard,) = server.upstream.seen(path)
    assert heard.values("X-Forwarded-For") == [believed]
    assert heard.values("X-Real-IP") == [believed]
    assert heard.values("X-Forwarded-Proto") == ["https"]
    assert heard.values("Host") == [NAME]
    (line,) = server.logged(path)
    assert json.loads(line)["address"] == believed


@pytest.mark.parametrize("chain", [(), (CLIENT,), (PROXY,), ("127.0.0.1",)], ids=str)
@pytest.mark.parametrize("login", [None, ADA], ids=["stranger", "ada"])
def test_who_comes_past_the_proxy_is_refused_whatever_they_say(
    server: Exposed, chain: tuple[str, ...], login: bytes | None
) -> None:
    before = len(server.upstream.requests)
    answer = server.in_clear(forwarded(server, "/past", *chain, login=login), NEIGHBOUR)
    assert answer.status in {401, 403}
    assert len(server.upstream.requests) == before


@pytest.mark.parametrize("host", ["elsewhere.example", "localhost", ADDRESS.replace("2", "9")])
def test_a_foreign_host_is_refused_behind_a_proxy_too(server: Exposed, host: str) -> None:
    answer = server.in_clear(server.request("/foreign", host=host, login=ADA), PROXY)
    assert answer.status == 421


def test_guesses_of_one_client_do_not_count_for_another_behind_the_same_proxy(
    server: Exposed,
) -> None:
    def guess(client: str) -> int:
        request = forwarded(server, "/", client, login=b"guessed:wrong")
        return server.in_clear(request, PROXY).status

    statuses = [guess("198.51.100.1") for _ in range(30)]
    assert statuses[-1] == 429
    assert guess("198.51.100.2") == 401


def test_this_computer_itself_is_believed_only_what_a_proxy_is(server: Exposed) -> None:
    forged = (("X-Forwarded-For", "6.6.6.6"),)
    assert server.ask_as_ada("/from-here", headers=forged).status == 200
    (heard,) = server.upstream.seen("/from-here")
    assert heard.values("X-Forwarded-For") == ["127.0.0.1"]
