"""Logs that no supervisor rotates are kept within bounds, and their writers notice nothing."""

import re
from pathlib import Path

import pytest

from trackstack import bundle
from trackstack.agent import ensure_logs as step
from trackstack.agent import folders, launcher
from unit.making import a_round

pytestmark = pytest.mark.usefixtures("machine_folder")

BOUND, KEPT = 1000, 3


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "BOUNDS", {folders.NGINX_LOG: (BOUND, KEPT)})


def older() -> list[str]:
    return sorted(log.name for log in folders.LOGS.glob(f"{folders.NGINX_LOG.name}.*"))


def test_a_log_within_its_bound_is_left_alone() -> None:
    folders.NGINX_LOG.write_bytes(b"x" * BOUND)
    step.ensure_logs(a_round())
    assert folders.NGINX_LOG.stat().st_size == BOUND
    assert older() == []


def test_a_full_log_is_put_aside_and_its_writer_goes_on() -> None:
    with folders.NGINX_LOG.open("ab", buffering=0) as writer:
        for number in range(KEPT + 2):
            writer.write(f"{number}".encode() * (BOUND + 1))
            step.ensure_logs(a_round())
        writer.write(b"the last")
    assert folders.NGINX_LOG.read_bytes() == b"the last"
    name = folders.NGINX_LOG.name
    assert older() == [f"{name}.{number}" for number in range(1, KEPT + 1)]
    newest = folders.LOGS / f"{name}.1"
    assert newest.read_text() == f"{KEPT + 1}" * (BOUND + 1)


def test_a_log_that_cannot_be_kept_is_emptied_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    folders.NGINX_LOG.write_bytes(b"x" * (BOUND + 1))
    monkeypatch.setattr(step.shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space left"):
        step.ensure_logs(a_round())
    assert folders.NGINX_LOG.read_bytes() == b""


def test_the_bounds_are_those_of_supervisor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    settings = launcher._SUPERVISORD + "".join(
        file.read_text() for file in sorted((bundle.templates() / "supervisor").glob("*.conf.j2"))
    )
    found = re.findall(
        r"_logfile=(logs/\S+)\n\w+_logfile_maxbytes=(\d+)MB\n\w+_logfile_backups=(\d+)", settings
    )
    assert {Path(log): (int(most) * 1024 * 1024, int(kept)) for log, most, kept in found} == (
        step.BOUNDS
    )
