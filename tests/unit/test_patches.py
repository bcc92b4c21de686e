"""A machine in a cloud tells how far its updates have got; somebody's own computer does not."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trackstack.agent import itself
from trackstack.agent import patches as agents
from trackstack.cli.status import _lines
from trackstack.desired import Patches
from trackstack.operations.status import Status
from unit.making import NOON

LISTS, INSTALLED = "update-stamp", "upgrade-stamp"


@pytest.fixture
def stamps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of apt's daily run on a machine in a cloud, which was not restarted for long."""
    monkeypatch.setattr(itself, "running", lambda: "an agent of its own")
    monkeypatch.setattr(agents, "_STAMPS", tmp_path / "periodic")
    monkeypatch.setattr(agents, "_REBOOT", tmp_path / "reboot-required")
    (tmp_path / "periodic").mkdir()
    return tmp_path / "periodic"


def touch(stamps: Path, name: str, at: datetime) -> None:
    (stamps / name).touch()
    os.utime(stamps / name, (at.timestamp(), at.timestamp()))


@pytest.mark.parametrize(
    ("lists", "installed", "told"),
    [
        (None, None, None),
        (0, None, None),
        (None, 0, None),
        (0, 6, 0),
        (9, 6, 6),
    ],
    ids=["never", "only the lists", "without lists", "lists are older", "since then new lists"],
)
def test_a_machine_is_patched_as_of_the_older_of_lists_and_upgrade(
    stamps: Path, lists: int | None, installed: int | None, told: int | None
) -> None:
    for name, hours in ((LISTS, lists), (INSTALLED, installed)):
        if hours is not None:
            touch(stamps, name, NOON + timedelta(hours=hours))
    seen = agents.patches()
    assert seen is not None
    assert seen.last == (None if told is None else NOON + timedelta(hours=told))


def test_a_machine_tells_that_it_waits_for_a_restart(stamps: Path) -> None:
    before = agents.patches()
    (stamps.parent / "reboot-required").touch()
    after = agents.patches()
    assert before is not None
    assert after is not None
    assert (before.reboot_pending, after.reboot_pending) == (False, True)


@pytest.mark.usefixtures("stamps")
def test_somebodys_own_computer_tells_nothing_of_its_updates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(itself, "running", lambda: None)
    assert agents.patches() is None


def lines(patches: Patches | None) -> list[str]:
    status = Status(
        environment="team",
        target="aws",
        url="https://203.0.113.1",
        state="running",
        answers=True,
        failed=None,
        room=None,
        at_login=False,
        release=None,
        versions={},
        people=1,
        stored_bytes=None,
        heartbeat=None,
        patches=patches,
        kit="1",
    )
    return [line for line in _lines(status) if line.startswith(("last patched", "reboot"))]


@pytest.mark.parametrize(
    ("patches", "told"),
    [
        (None, []),
        (
            Patches(last=None, reboot_pending=False),
            ["last patched not yet; Debian does it once a day"],
        ),
        (
            Patches(last=datetime(2026, 11, 20, 6, 40, 59, tzinfo=UTC), reboot_pending=True),
            [
                "last patched 2026-11-20 06:40 UTC",
                "reboot       pending: a new kernel waits for it",
            ],
        ),
    ],
    ids=["not told", "not yet", "patched"],
)
def test_status_says_it(patches: Patches | None, told: list[str]) -> None:
    assert lines(patches) == told
