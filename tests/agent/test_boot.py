"""boot.py and real agents: a bad one does not stay, whatever is wrong with it, and nobody notices.

A bad agent is one that ends at once, says nothing, or is not what its hash says; services go on.
"""

import re
import shutil
import time
from collections.abc import Iterator

import psutil
import pytest
from boot_machines import LOCK, TRIAL_SECONDS, Booted, archive, booted
from boxes import DEADLINE_SECONDS, bystander, make_wheel

from trackstack.desired import Agent

USERS = {"ada": "one"}
GOOD = archive()


@pytest.fixture(scope="module")
def server() -> Iterator[Booted]:
    """One machine for all tests."""
    with booted() as made:
        made.want(GOOD)
        yield made


@pytest.fixture
def machine(server: Booted) -> Booted:
    """That machine, serving, with the good agent."""
    box = server.box
    wanted = server.want(GOOD)
    release, users = box.want_release(), box.want_users(USERS)
    server.wait_for_agent(wanted)
    box.wait_observed(
        lambda report: (
            report.healthy
            and (report.applied.release, report.applied.users)
            == (release.generation, users.generation)
        ),
        "health",
    )
    return server


def _is_good(machine: Booted, good: Agent) -> None:
    """The good agent does what is asked of it."""
    users = machine.box.want_users({"ada": "one", "grace": "two"})
    report = machine.box.wait_observed(
        lambda report: report.applied.users == users.generation, "a change of users"
    )
    assert report.agent == good.id


def _refused(machine: Booted, bad: bytes, lock: str = LOCK, put: bytes | None = None) -> str:
    """Have a bad agent wanted while somebody uses the server; why it was refused."""
    good = machine.want(GOOD)
    with bystander(lambda: machine.box.ask("ada", "one")[0]) as statuses:
        machine.want(bad, lock, put)
        report = machine.wait_for_problem()
        _is_good(machine, good)
    assert set(statuses) == {200}
    assert report.agent == good.id
    return report.agent_problem or ""


def test_an_agent_that_ends_at_once_is_refused_and_the_old_one_is_back(machine: Booted) -> None:
    begun = time.monotonic()
    told = _refused(machine, archive(begin="raise SystemExit('bad')"))
    assert told == "the new agent ended before it reported"
    assert time.monotonic() - begun < TRIAL_SECONDS, "nothing was there to wait for"


def test_an_agent_that_says_nothing_is_refused_when_its_time_is_over(machine: Booted) -> None:
    told = _refused(machine, archive(begin="import time\ntime.sleep(86400)"))
    assert told == f"the new agent did not report within {TRIAL_SECONDS} seconds"


def test_an_archive_of_another_hash_is_never_run(machine: Booted) -> None:
    ran = machine.box.folder / "ran"
    told = _refused(
        machine, archive("named"), put=archive(begin=f"open({str(ran)!r}, 'w').close()")
    )
    assert "has another hash than its name" in told
    assert not ran.exists()


def test_a_lock_that_cannot_be_installed_is_refused(machine: Booted) -> None:
    told = _refused(machine, archive("packages"), lock="uv==0.0 --hash=sha256:" + 64 * "0")
    assert told.startswith("the new agent cannot be had: Command ")


def test_a_lock_without_what_installs_it_is_refused(machine: Booted) -> None:
    told = _refused(machine, archive("strange"), lock=make_wheel(machine.box.folder))
    assert re.fullmatch(r"the new agent cannot be had: [0-9a-f]{64}\.txt lacks uv", told)


def test_a_refused_agent_is_not_tried_again_and_a_good_one_is_taken(machine: Booted) -> None:
    tried = machine.box.folder / "tried"
    line = f"open({str(tried)!r}, 'a').write('tried ')\nraise SystemExit('bad')"
    _refused(machine, archive(begin=line))
    attempts = tried.read_text()
    machine.box.process("agent").kill()  # the next one looks anew
    _is_good(machine, machine.want(GOOD))
    assert tried.read_text() == attempts == "tried tried "
    with bystander(lambda: machine.box.ask("ada", "one")[0]) as statuses:
        newer = machine.want(archive("newer"))
        machine.wait_for_agent(newer)
    assert set(statuses) == {200}
    _is_good(machine, newer)


def test_one_kill_in_the_middle_of_a_trial_is_forgiven(machine: Booted) -> None:
    begun = machine.box.folder / "begun"
    waits = f"""
import pathlib, time
if not pathlib.Path({str(begun)!r}).exists():
    pathlib.Path({str(begun)!r}).touch()
    time.sleep(86400)
"""
    newer = machine.want(archive(begin=waits))
    until = time.monotonic() + DEADLINE_SECONDS
    while not begun.exists():
        assert time.monotonic() < until, "the new agent is not tried"
        time.sleep(0.02)
    machine.box.process("agent").kill()
    machine.wait_for_agent(newer)
    _is_good(machine, newer)


def test_after_a_power_cut_the_proven_agent_serves_again_although_the_store_is_away(
    machine: Booted,
) -> None:
    control = machine.box.folder / "control" / "desired"
    away = control.with_name("away")
    machine.lose_power()
    control.rename(away)
    try:
        machine.start()
        _wait_for_the_agents_process(machine)
    finally:
        shutil.rmtree(control, ignore_errors=True)  # empty, and made by who waits for it
        away.rename(control)
    good = machine.want(GOOD)
    machine.wait_for_agent(good)
    _is_good(machine, good)


def test_what_an_older_agent_left_is_gone_after_the_next_start(machine: Booted) -> None:
    newer = machine.want(archive("newest"))
    machine.wait_until_proven(newer)
    machine.lose_power()
    machine.start()
    _is_good(machine, newer)
    kept = {path.name for path in machine.agents.iterdir()}
    assert kept == {f"{newer.archive}.pyz", newer.lock, "state.json"}


def _wait_for_the_agents_process(machine: Booted) -> psutil.Process:
    until = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            return machine.box.process("agent")
        except AssertionError:
            assert time.monotonic() < until, "no agent runs"
            time.sleep(0.05)
