"""A server whose clock is wrong: commands that hang on it say so, and those alone."""

import time
from email.utils import formatdate

import httpx
import pytest

from trackstack.desired import Applied
from trackstack.environment import Environment
from trackstack.errors import NotProvenError, TrackstackError
from trackstack.operations import clocks, waiting

DAYS = 24 * 3600


def server(ahead: float) -> httpx.Client:
    """One whose clock is so many seconds ahead."""

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Date": formatdate(time.time() + ahead, usegmt=True)})

    return httpx.Client(base_url="https://mlflow.example", transport=httpx.MockTransport(answer))


def down(_: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused")


@pytest.mark.parametrize(
    ("ahead", "told"),
    [
        (2 * DAYS, "2880 minutes ahead of this computer's"),
        (-2 * DAYS, "2880 minutes behind this computer's"),
        (16 * 60, "16 minutes ahead of this computer's"),
    ],
)
def test_a_clock_that_is_far_off_is_told_in_a_sentence(ahead: float, told: str) -> None:
    with server(ahead) as wrong, pytest.raises(NotProvenError) as raised:
        clocks.must_agree(wrong)
    assert f"The clock of https://mlflow.example is {told}" in raised.value.sentence


@pytest.mark.parametrize("ahead", [0, 14 * 60, -14 * 60])
def test_a_clock_that_is_good_enough_is_not_blamed(ahead: float) -> None:
    with server(ahead) as right:
        clocks.must_agree(right)


def test_a_server_that_is_down_has_no_clock_to_blame() -> None:
    with httpx.Client(base_url="https://x", transport=httpx.MockTransport(down)) as nobody:
        clocks.must_agree(nobody)


@pytest.mark.parametrize(
    ("ahead", "told"),
    [(2 * DAYS, "is 2880 minutes ahead of"), (0, "is silent")],
    ids=["wrong clock", "right clock"],
)
def test_who_waits_for_a_silent_agent_hears_when_it_is_the_clock(
    environment: Environment, monkeypatch: pytest.MonkeyPatch, ahead: float, told: str
) -> None:
    target = environment.target
    monkeypatch.setattr(target, "running", lambda: True)
    monkeypatch.setattr(target, "first_word_seconds", 0.5)
    monkeypatch.setattr(target.store, "wait_for_change", lambda *_, **__: False)
    monkeypatch.setattr(environment, "authorities", lambda: None)
    monkeypatch.setattr(waiting, "http_client", lambda *_: server(ahead))
    monkeypatch.setattr(waiting, "_CLOCK_SECONDS", 0.1)
    with pytest.raises(TrackstackError) as raised:
        waiting.wait_until_applied(environment, Applied(users=9))
    assert told in raised.value.sentence
