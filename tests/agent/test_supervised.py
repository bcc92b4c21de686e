"""The real agent under the real supervisor: it is brought back, and keeps to its times.

With a stand-in for MLflow.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import psutil
import pytest
from boxes import DEADLINE_SECONDS, Box, bystander, running_box, soon

from trackstack.desired import Observed, Release, Users

USERS = {"ada": "one", "grace": "one"}


@pytest.fixture(scope="module")
def machine() -> Iterator[Box]:
    """One machine for all tests."""
    with running_box(driven=False) as made:
        yield made


@pytest.fixture
def box(machine: Box) -> Box:
    """That machine, well, with one worker."""
    _settle(machine, machine.want_release(workers=1), machine.want_users(USERS))
    return machine


def _settle(box: Box, release: Release, users: Users) -> Observed:
    def done(report: Observed) -> bool:
        applied = (report.applied.release, report.applied.users)
        return report.healthy and applied == (release.generation, users.generation)

    return box.wait_observed(done, "what was asked for")


def test_a_killed_agent_is_brought_back_and_does_what_was_asked(box: Box) -> None:
    before = box.process("trackstack.agent")
    with bystander(lambda: box.ask("ada", "one")[0]) as statuses:
        before.kill()
        release = box.want_release(workers=2)
        users = box.want_users({"ada": "one", "linus": "three"})
        _settle(box, release, users)
    assert box.process("trackstack.agent") != before
    assert set(statuses) == {200}
    assert box.faults(release, 2, {"ada": "one", "linus": "three"}) == []


def test_a_killed_mlflow_is_brought_back(box: Box) -> None:
    server = box.process("mlflow", "server")
    server.kill()
    until = time.monotonic() + DEADLINE_SECONDS
    server.wait(DEADLINE_SECONDS)
    while (answer := box.ask("ada", "one")) != (200, "workers 1\n"):
        assert time.monotonic() < until, f"MLflow stays away: {answer}"
        time.sleep(0.05)


def test_a_killed_nginx_is_brought_back(box: Box) -> None:
    pid = int((box.machine / "run" / "nginx.pid").read_text())
    psutil.Process(pid).kill()
    users = box.want_users({"ada": "two", "grace": "one"})
    report = _settle(box, box.want_release(workers=3), users)
    assert report.healthy
    assert box.ask("ada", "two") == (200, "workers 3\n")
    assert len([command for command in box.processes() if "nginx: master" in command]) == 1


def test_a_user_is_shut_out_when_the_time_has_come(box: Box) -> None:
    expires = soon(2)
    users = box.want_users({"ada": "one", "linus": "three"}, expires={"linus": expires})
    box.wait_observed(lambda report: report.applied.users == users.generation, "the users")
    assert box.ask("linus", "three")[0] == 200
    until = time.monotonic() + DEADLINE_SECONDS
    while box.ask("linus", "three")[0] == 200:
        assert time.monotonic() < until, "the time is over, and linus still enters"
        time.sleep(0.02)
    late = (datetime.now(UTC) - expires).total_seconds()
    assert 0 <= late < 2, f"shut out {late:.1f} s after the time"
    assert [box.ask("linus", "three")[0], box.ask("ada", "one")[0]] == [401, 200]
    assert not (box.machine / "users" / "linus").exists()


def test_a_damaged_document_heals_when_it_is_put_right(box: Box) -> None:
    stored = box.store.get(Users.KEY)
    assert stored is not None
    file = box.folder / "control" / Users.KEY
    file.write_bytes(b"garbage")
    report = box.wait_observed(lambda report: not report.healthy, "the damage")
    failed = report.failed_step()
    assert failed is not None
    assert (failed.name, Users.KEY in (failed.problem or "")) == ("users", True)
    assert box.ask("ada", "one")[0] == 200
    file.write_bytes(stored.data)
    box.wait_observed(lambda report: report.healthy, "health again")
