"""The agent is killed with SIGKILL right before each of its effects; the next round ends right.

With a real supervisor and nginx, and a stand-in for MLflow: it is killed about a hundred times.
"""

import shutil
from collections.abc import Iterator

import pytest
from boxes import Box, running_box

from trackstack.agent.converge import STEPS
from trackstack.desired import Release

STEP_NAMES = [*(step.name for step in STEPS), "report"]
BEFORE = {"ada": "one", "grace": "one"}
AFTER = {"ada": "one", "grace": "two", "linus": "three"}
STRIDES = {"folders": 3, "files": 3, "report": 5}
"""Steps that do the same thing many times over are killed at every third or fifth effect."""


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    """One machine for all: every test begins by making it what it needs."""
    with running_box(driven=True) as made:
        yield made


def _settle(box: Box, workers: int, users: dict[str, str]) -> Release:
    release = box.want_release(workers)
    box.want_users(users)
    assert box.round().healthy, f"no good beginning: {box.observed()}"
    return release


@pytest.mark.parametrize("step", STEP_NAMES)
def test_a_first_deploy_survives_a_kill_at_any_effect_of(box: Box, step: str) -> None:
    effects: list[str] = []
    at = 1 - STRIDES.get(step, 1)
    while True:
        at += STRIDES.get(step, 1)
        box.make_fresh()
        if step == "packages":
            _forget_packages(box)
        release = box.want_release(workers=1)
        box.want_users(BEFORE)
        killed = box.round(step, at)
        if not killed.killed:
            break
        effects = killed.effects
        assert box.round().healthy, f"killed before {effects[-1]!r}: {box.observed()}"
        assert box.faults(release, 1, BEFORE) == [], f"killed before {effects[-1]!r}"
    assert len(effects) >= 2, f"the step was hardly begun: {effects}"


def _forget_packages(box: Box) -> None:
    shutil.rmtree(box.machine / "packages")


@pytest.mark.parametrize("step", STEP_NAMES)
def test_a_change_of_release_survives_a_kill_at_any_effect_of(box: Box, step: str) -> None:
    _settle(box, 1, BEFORE)
    effects: list[str] = []
    at = 0
    while True:
        at += 1
        workers = 2 + at % 2
        release = box.want_release(workers)
        killed = box.round(step, at)
        if not killed.killed:
            break
        effects = killed.effects
        assert box.ask("ada", "one")[0] == 200, f"nobody serves, killed before {effects[-1]!r}"
        assert box.round().healthy, f"killed before {effects[-1]!r}: {box.observed()}"
        assert box.faults(release, workers, BEFORE) == [], f"killed before {effects[-1]!r}"
    assert len(effects) >= 2, f"the step was hardly begun: {effects}"


@pytest.mark.parametrize("step", STEP_NAMES)
def test_a_change_of_users_survives_a_kill_at_any_effect_of(box: Box, step: str) -> None:
    release = _settle(box, 1, BEFORE)
    effects: list[str] = []
    at = 0
    while True:
        at += 1
        users = AFTER if at % 2 else BEFORE
        box.want_users(users)
        killed = box.round(step, at)
        if not killed.killed:
            break
        effects = killed.effects
        assert box.round().healthy, f"killed before {effects[-1]!r}: {box.observed()}"
        assert box.faults(release, 1, users) == [], f"killed before {effects[-1]!r}"
    assert len(effects) >= 2, f"the step was hardly begun: {effects}"
