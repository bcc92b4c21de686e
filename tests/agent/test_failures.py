"""A release that fails leaves the last good one serving and says why; mended, it is taken up.

With a real supervisor and nginx, and a stand-in for MLflow.
"""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from boxes import (
    DEADLINE_SECONDS,
    Box,
    bystander,
    lock_of,
    make_wheel,
    running_box,
    slow_index,
)

from kits import eventually
from trackstack.desired import Release, StepReport, Users

USERS = {"ada": "one", "grace": "one"}


@pytest.fixture(scope="module")
def machine() -> Iterator[Box]:
    """One machine for all tests."""
    with running_box(driven=True) as made:
        yield made


@pytest.fixture
def box(machine: Box) -> Box:
    """That machine, well, with one worker."""
    _settle(machine)
    return machine


def _settle(box: Box) -> Release:
    release = box.want_release(workers=1)
    box.want_users(USERS)
    assert box.round().healthy, f"no good beginning: {box.observed()}"
    return release


def _failed(box: Box) -> StepReport:
    report = box.observed()
    assert report is not None
    assert not report.healthy
    step = report.failed_step()
    assert step is not None
    return step


def _wrong_hash(box: Box) -> Release:
    name, _, digest = box.lock.rpartition(":")
    return box.want_release(workers=2, packages=f"{name}:{digest[::-1].strip()}\n")


def _broken_mlflow(box: Box) -> Release:
    (box.folder / "broken").mkdir(exist_ok=True)
    lock = make_wheel(box.folder / "broken", broken="on purpose")
    return box.want_release(workers=2, packages=lock)


def _bad_settings(box: Box) -> Release:
    return box.want_release(workers=2, nginx_settings="no_such_directive on;")


FAILURES: dict[str, tuple[Callable[[Box], Release], str, str, str]] = {
    "a package with another hash": (
        _wrong_hash,
        "packages",
        "the server's packages could not be installed",
        "Hash mismatch",
    ),
    "an MLflow that does not start": (
        _broken_mlflow,
        "mlflow",
        "MLflow does not come up",
        "the stand-in was told not to start",
    ),
    "settings that nginx refuses": (
        _bad_settings,
        "nginx",
        "nginx refuses the release's settings",
        'unknown directive "no_such_directive"',
    ),
}


@pytest.mark.parametrize(("want", "step", "problem", "output"), FAILURES.values(), ids=FAILURES)
def test_the_last_good_release_serves_on_and_the_report_says_why(
    box: Box, want: Callable[[Box], Release], step: str, problem: str, output: str
) -> None:
    good = box.observed()
    assert good is not None
    with bystander(lambda: box.ask("ada", "one")[0]) as statuses:
        wanted = want(box)
        assert not box.round().healthy
        assert not box.round().healthy, "a second try fails as the first"
    failed = _failed(box)
    assert (failed.name, failed.problem) == (step, problem)
    assert output in (failed.output or "")
    report = box.observed()
    assert report is not None
    assert report.seen.release == wanted.generation
    assert report.applied.release < wanted.generation
    assert report.release_id == good.release_id
    assert set(statuses) == {200}
    assert box.ask("ada", "one") == (200, "workers 1\n")
    servers = [command for command in box.processes() if "--uds run/mlflow-" in command]
    assert len(servers) == 1, "the failed release's MLflow is left running"


@pytest.mark.parametrize("want", [row[0] for row in FAILURES.values()], ids=FAILURES)
def test_mending_a_failed_release_heals_the_machine(
    box: Box, want: Callable[[Box], Release]
) -> None:
    want(box)
    assert not box.round().healthy
    mended = box.want_release(workers=3)
    assert box.round().healthy, box.observed()
    assert box.faults(mended, 3, USERS) == []


@pytest.mark.parametrize("want", [row[0] for row in FAILURES.values()], ids=FAILURES)
def test_users_come_and_go_while_a_release_fails(box: Box, want: Callable[[Box], Release]) -> None:
    want(box)
    written = box.want_users({"ada": "two", "linus": "three"})
    assert not box.round().healthy
    report = box.observed()
    assert report is not None
    assert report.applied.users == written.generation
    entries = [box.ask(*login)[0] for login in (("ada", "two"), ("linus", "three"), ("ada", "one"))]
    assert entries == [200, 200, 401]


def test_a_taken_port_leaves_the_old_one_serving_through_a_restart_of_nginx(box: Box) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with bystander(lambda: box.ask("ada", "one")[0]) as statuses:
            box.want_release(workers=2, port=port)
            # Killed while it waits for nginx: the settings of the failing release are linked.
            assert box.round("nginx", "wait").killed
            assert not box.round().healthy
        failed = _failed(box)
        assert failed.name == "nginx"
        assert f"bind() to 127.0.0.1:{port} failed" in (failed.output or "")
        assert set(statuses) == {200}
        box.restart("nginx")
        assert eventually(lambda: box.ask("ada", "one") == (200, "workers 1\n")), (
            "the good settings were lost"
        )
    mended = box.want_release(workers=2, port=port)
    assert box.round().healthy, box.observed()
    assert box.faults(mended, 2, USERS) == []


DAMAGED = {
    "no JSON": b"\x00\xffgarbage",
    "an empty file": b"",
    "another document": b'{"format": 1}',
    "a newer format": b'{"format": 99, "kit": "9.9"}',
    "cut short": None,
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize(
    ("kind", "step"), [(Users, "users"), (Release, "files")], ids=["users", "release"]
)
def test_a_damaged_document_changes_nothing_is_reported_and_heals(
    box: Box, kind: type[Users] | type[Release], step: str, damage: bytes | None
) -> None:
    stored = box.store.get(kind.KEY)
    assert stored is not None
    good = box.observed()
    assert good is not None
    file = box.folder / "control" / kind.KEY
    with bystander(lambda: box.ask("ada", "one")[0]) as statuses:
        file.write_bytes(stored.data[: len(stored.data) // 2] if damage is None else damage)
        assert not box.round().healthy
        assert not box.round().healthy
    failed = _failed(box)
    report = box.observed()
    assert report is not None
    assert failed.name == step
    assert kind.KEY in (failed.problem or "")
    assert report.release_id == good.release_id
    assert set(statuses) == {200}
    assert [box.ask("grace", "one")[0], box.ask("grace", "two")[0]] == [200, 401]
    file.write_bytes(stored.data)
    assert box.round().healthy, box.observed()


def test_an_installation_whose_agent_was_killed_does_not_spoil_the_next(box: Box) -> None:
    wheel = (box.folder / "mlflow-3.17.2-py3-none-any.whl").read_bytes()
    with slow_index(wheel) as index, ThreadPoolExecutor(1) as pool:
        release = box.want_release(workers=2, packages=lock_of(index.address, wheel))
        first = pool.submit(box.round)
        assert index.asked.wait(DEADLINE_SECONDS), "nothing was downloaded"
        box.kill_round()
        assert first.result(DEADLINE_SECONDS).killed
        second = pool.submit(box.round)
        # The first one's downloader is still at it: give the second one time to disturb it.
        index.asked_again.wait(1)
        index.serve.set()
        assert second.result(DEADLINE_SECONDS).healthy, box.observed()
    assert box.faults(release, 2, USERS) == []
