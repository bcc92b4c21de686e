"""Whether a cloud's machine still reports is told by the clock of its control store."""

from datetime import timedelta

import pytest

from trackstack.control.directory import DirectoryStore
from trackstack.desired import Applied, Observed, StepReport, observed_key
from trackstack.environment import Environment
from trackstack.operations.doctor import examine
from trackstack.operations.status import status
from trackstack.place import Place
from unit.making import NOON

PLACE = Place(target="aws", account="123456789012", region="eu-central-1")
CLOCKS = [timedelta(0), timedelta(days=-4000), timedelta(days=4000)]
"""How far a store's clock is from this computer's and the machine's."""


def in_cloud(
    environment: Environment, ago: timedelta, store_is_off: timedelta, at: pytest.MonkeyPatch
) -> Environment:
    """As if its machine ran in a cloud, and reported so long ago."""
    store = environment.target.store
    assert isinstance(store, DirectoryStore)
    report = Observed(
        generation=1,
        machine=environment.outputs.machine,
        boot="a",
        healthy=True,
        seen=Applied(),
        applied=Applied(),
        release_id=None,
        versions={},
        steps=(StepReport(name="users", state="done"),),
        heartbeat=NOON,
    )
    store.put(observed_key(report.machine), report.to_bytes(), expect=None)
    now = NOON + store_is_off
    at.setattr(store, "modified", lambda _: (now - ago, now))
    at.setattr(environment.target, "running", lambda: True)
    at.setattr(environment, "place", PLACE)
    return environment


@pytest.mark.parametrize("store_is_off", CLOCKS, ids=["right", "behind", "ahead"])
@pytest.mark.parametrize(("ago", "said"), [(70, "running"), (600, "silent")])
def test_status_and_doctor_tell_silence_whatever_this_computers_clock_says(
    environment: Environment,
    monkeypatch: pytest.MonkeyPatch,
    ago: int,
    said: str,
    store_is_off: timedelta,
) -> None:
    made = in_cloud(environment, timedelta(seconds=ago), store_is_off, monkeypatch)
    assert status(made).state == said
    agent = {each.about: each for each in examine([made]).findings}["agent"]
    assert agent.level == ("ok" if said == "running" else "bad"), agent


def test_a_machine_in_a_cloud_that_never_spoke_is_silent(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment.target, "running", lambda: True)
    monkeypatch.setattr(environment, "place", PLACE)
    assert status(environment).state == "silent"
