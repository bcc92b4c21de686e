"""The real agent under the real supervisor: it is brought back, and keeps to its times.

With a stand-in for MLflow.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import psutil
import pytest
from boxes import DEADLINE_SECONDS, Box, bystander, running_box, soon

from trackstack.agent.processes import holder, strays
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


def test_a_killed_mlflow_is_brought_back_and_its_workers_are_not_left(box: Box) -> None:
    _settle(box, box.want_release(workers=2), box.want_users(USERS))
    server, worker = box.process("server", "--serve-artifacts"), box.process("sleep")
    server.kill()
    server.wait(DEADLINE_SECONDS)
    _wait_for_an_answer(box, "workers 2\n")
    assert not worker.is_running(), "the killed one's worker is left"


def test_a_killed_nginx_is_brought_back_at_once_and_its_workers_are_not_left(box: Box) -> None:
    master = psutil.Process(int((box.machine / "run" / "nginx.pid").read_text()))
    workers = master.children()
    master.kill()
    _, alive = psutil.wait_procs(workers, timeout=DEADLINE_SECONDS)
    assert alive == [], "they hold the port"
    _wait_for_an_answer(box, "workers 1\n")
    users = box.want_users({"ada": "two", "grace": "one"})
    report = _settle(box, box.want_release(workers=3), users)
    assert report.healthy
    assert box.ask("ada", "two") == (200, "workers 3\n")
    assert len([command for command in box.services() if "nginx: master" in command]) == 1


def test_a_killed_worker_of_nginx_is_replaced(box: Box) -> None:
    master = psutil.Process(int((box.machine / "run" / "nginx.pid").read_text()))
    before = master.children()
    before[0].kill()
    before[0].wait(DEADLINE_SECONDS)
    _wait_for_an_answer(box, "workers 1\n")
    assert master.is_running()


def test_a_killed_supervisor_is_replaced_and_nothing_of_it_is_left(machine: Box) -> None:
    release, users = machine.want_release(workers=2), machine.want_users(USERS)
    _settle(machine, release, users)
    old = holder(machine.machine)
    assert old is not None
    left = [process for process in strays(machine.machine) if process.pid != old]
    agent = machine.process("trackstack.agent")
    supervisor = psutil.Process(old)
    supervisor.kill()
    supervisor.wait(10)  # an agent that wakes before that sees it alive
    # The change wakes the agent; without one it looks at its next heartbeat.
    _settle(machine, release, machine.want_users({"ada": "two"}))
    _, alive = psutil.wait_procs([each for each in left if each != agent], timeout=0)
    assert alive == []
    assert holder(machine.machine) == agent.pid
    assert machine.faults(release, 2, {"ada": "two"}) == []


def test_a_second_start_beside_a_running_one_changes_nothing(box: Box) -> None:
    before = holder(box.machine), box.services()
    command = [sys.executable, "-P", "-m", "trackstack.agent.launcher", box.machine, "../control"]
    second = subprocess.run([*command, "local"], capture_output=True, text=True, check=False)
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert (holder(box.machine), box.services()) == before


def _wait_for_an_answer(box: Box, body: str) -> None:
    until = time.monotonic() + DEADLINE_SECONDS
    while (answer := box.ask("ada", "one")) != (200, body):
        assert time.monotonic() < until, f"nobody serves again: {answer}"
        time.sleep(0.05)


def test_a_user_is_shut_out_when_the_time_has_come(box: Box) -> None:
    expires = soon(6)
    users = box.want_users({"ada": "one", "linus": "three"}, expires={"linus": expires})
    box.wait_observed(lambda report: report.applied.users == users.generation, "the users")
    assert box.ask("linus", "three")[0] == 200
    until = time.monotonic() + DEADLINE_SECONDS
    while box.ask("linus", "three")[0] == 200:
        assert time.monotonic() < until, "the time is over, and linus still enters"
        time.sleep(0.02)
    late = (datetime.now(UTC) - expires).total_seconds()
    # At its next heartbeat it would be some twenty seconds late.
    assert 0 <= late < 8, f"shut out {late:.1f} s after the time"
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
