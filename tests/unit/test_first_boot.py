"""A machine without an agent yet says on its console why; a deploy that waits reads it there."""

from itertools import chain, repeat

import pytest

from trackstack.desired import Applied
from trackstack.environment import Environment
from trackstack.errors import NotProvenError, TrackstackError
from trackstack.operations import first_boot, waiting
from trackstack.place import Place

WAITS = "[  12.3] boot.py[1]: trackstack waits: HTTP Error 403: Forbidden\r\n"
PLACE = Place(target="aws", account="123456789012", region="eu-central-1")


def waited(
    environment: Environment, monkeypatch: pytest.MonkeyPatch, before: str, then: str
) -> TrackstackError:
    """How a wait ends for a machine whose console says one thing, and then another."""
    consoles = chain([before], repeat(before + then))
    target = environment.target
    monkeypatch.setattr(environment, "place", PLACE)
    monkeypatch.setattr(first_boot, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(target, "console", lambda _: next(consoles), raising=False)
    monkeypatch.setattr(target, "running", lambda: True)
    monkeypatch.setattr(target, "first_word_seconds", 0.5)
    monkeypatch.setattr(target.store, "wait_for_change", lambda *_, **__: False)
    with pytest.raises(TrackstackError) as raised:
        waiting.wait_until_applied(environment, Applied(release=9))
    return raised.value


@pytest.mark.parametrize(
    ("before", "then", "told"),
    [
        ("", "", None),
        ("", 5 * WAITS, None),
        ("", 6 * WAITS, "HTTP Error 403: Forbidden"),
        (9 * WAITS, 5 * WAITS, None),
        (9 * WAITS, 6 * WAITS, "HTTP Error 403: Forbidden"),
        ("", 60 * WAITS.replace("403: Forbidden", "404: Not Found"), None),
    ],
    ids=[
        "nothing",
        "a hiccup",
        "again and again",
        "mended",
        "not mended",
        "early",
    ],
)
def test_what_a_first_boot_complains_of_ends_the_wait(
    environment: Environment,
    monkeypatch: pytest.MonkeyPatch,
    before: str,
    then: str,
    told: str | None,
) -> None:
    error = waited(environment, monkeypatch, before, then)
    assert isinstance(error, NotProvenError) is (told is not None)
    assert (told or "is silent") in str(error)
