"""Logs rotate and never fill the disk, however much is written to them.

What a flood goes through is the real supervisor with the settings the kit gives it.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from boxes import Box, running_box
from supervisor import loggers

from trackstack.agent import folders, launcher

MB = 1000 * 1000
LINE = b"x" * 1023 + b"\n"
LAST = b"the last line\n"
SLACK = 1.1  # a file grows by one piece beyond its bound before it is rotated


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    """One machine for all tests, well."""
    with running_box(driven=False) as made:
        release, users = made.want_release(), made.want_users({"ada": "one"})
        made.wait_observed(
            lambda report: report.healthy and report.applied.release == release.generation, "health"
        )
        assert users
        yield made


def _agent(box: Box) -> psutil.Process:
    return box.process("trackstack.agent")


def _mlflow(box: Box) -> psutil.Process:
    return box.process("server", "--serve-artifacts")


def _nginx(box: Box) -> psutil.Process:
    return psutil.Process(int((box.machine / folders.NGINX_PID).read_text()))


FLOODS = {
    # whose, which of its outputs, the log, how much it may hold with its older files
    "nginx, of requests": (_nginx, 1, folders.NGINX_LOG, 126 * MB),
    "nginx, of errors": (_nginx, 2, folders.NGINX_ERRORS, 11 * MB),
    "MLflow": (_mlflow, 1, folders.MLFLOW_LOG, 42 * MB),
    "the agent": (_agent, 2, folders.AGENT_LOG, 11 * MB),
}


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
@pytest.mark.parametrize(("who", "output", "log", "bound"), FLOODS.values(), ids=FLOODS)
def test_a_flood_is_kept_within_bounds_and_its_end_is_there(
    box: Box, who: object, output: int, log: Path, bound: int
) -> None:
    assert callable(who)
    with Path(f"/proc/{who(box).pid}/fd/{output}").open("wb", buffering=0) as pipe:
        for _ in range(int(bound * 1.3) // len(LINE)):
            pipe.write(LINE)
        pipe.write(LAST)
    file = box.machine / log
    _wait_for_the_last_line(box, file)
    held = sum(each.stat().st_size for each in file.parent.glob(f"{file.name}*"))
    assert bound / 2 < held < bound * SLACK


def _wait_for_the_last_line(box: Box, file: Path) -> None:
    def there() -> bool:
        newest = [each for each in (file, file.with_name(f"{file.name}.1")) if each.exists()]
        return any(LAST in _tail(each) for each in newest)

    deadline = 60.0
    while not there():
        deadline -= 0.05
        assert deadline > 0, f"{file.name} never got the end of the flood"
        assert box.store.wait_for_change({"nothing": None}, 0.05) is False


def _tail(file: Path) -> bytes:
    with file.open("rb") as opened:
        opened.seek(max(0, opened.seek(0, os.SEEK_END) - 10 * len(LINE)))
        return opened.read()


def test_the_supervisors_own_log_is_kept_within_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folders.make_all()
    launcher._SETTINGS.write_text(launcher._SUPERVISORD)
    options = launcher._Options()
    options.realize(["-c", str(launcher._SETTINGS)])
    options.make_logger()
    try:
        for _ in range(3000):
            options.logger.info("x" * 1000)
    finally:
        assert isinstance(options.logger, loggers.Logger)
        options.logger.close()
    held = sum(file.stat().st_size for file in folders.LOGS.iterdir())
    assert MB < held < 2.1 * 1024 * 1024 * SLACK
