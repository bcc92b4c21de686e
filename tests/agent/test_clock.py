"""The machine's clock jumps days ahead and back; users come and go by it, and nothing hangs.

With libfaketime in every process of the machine but the clock that only counts.
"""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from boxes import DEADLINE_SECONDS, Box, running_box

from trackstack.desired import Observed

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
SLEEP = """\
import select, time
time.sleep = lambda seconds: select.select([], [], [], seconds) and None
"""
"""libfaketime 0.9.10 refuses the call by which Python sleeps, `clock_nanosleep` until a moment."""


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Holds how far the machine's clock is off, such as +2d."""
    if LIBRARY is None:
        pytest.skip("libfaketime (Debian's package faketime) is missing")
    file = tmp_path / "clock"
    file.write_text("+0d\n")
    (tmp_path / "sitecustomize.py").write_text(SLEEP)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    preload = os.environ.get("LD_PRELOAD", "")
    monkeypatch.setenv("LD_PRELOAD", f"{LIBRARY} {preload}".strip())
    monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(file))
    monkeypatch.setenv("FAKETIME_NO_CACHE", "1")
    monkeypatch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    return file


def _set(clock: Path, off: str) -> None:
    new = clock.with_name("new")
    new.write_text(f"{off}\n")
    new.replace(clock)


def _settle(box: Box, generation: int) -> Observed:
    return box.wait_observed(lambda report: report.applied.users == generation, "the users")


def _wait_for(box: Box, name: str, status: int) -> None:
    until = time.monotonic() + DEADLINE_SECONDS
    while (answer := box.ask(name, "one")[0]) != status:
        assert time.monotonic() < until, f"{name} gets {answer}, not {status}"
        time.sleep(0.1)


def test_users_go_and_come_again_when_the_clock_jumps_ahead_and_back(clock: Path) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    people, expires = {"ada": "one", "grace": "one"}, {"grace": tomorrow}
    with running_box(driven=False) as box:
        release = box.want_release()
        users = box.want_users(people, expires)
        box.wait_observed(
            lambda report: report.healthy and report.applied.release == release.generation, "health"
        )
        assert [box.ask(name, "one")[0] for name in people] == [200, 200]
        for off, for_grace in (("+2d", 401), ("-2d", 200), ("+0d", 200)):
            _set(clock, off)
            users = box.want_users(people, expires)  # wakes the agent before its heartbeat
            report = _settle(box, users.generation)
            ahead = report.heartbeat - datetime.now(UTC)
            days = timedelta(days=int(off.rstrip("d")))
            assert abs(ahead - days) < timedelta(hours=1), "the machine's clock was not off"
            _wait_for(box, "grace", for_grace)
            assert box.ask("ada", "one")[0] == 200
