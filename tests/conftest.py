"""What every layer of the tests shares."""

import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from kits import Kit, running_kit

# Whoever starts the tests in the background may have them ignore Ctrl-C, and so all they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

UNMEASURED = ("box", "machine")
"""The layers whose commands do not tell which lines of src they reach: others run the same ones,
and to tell takes as much processor time again as the command."""

NOT_INSTALLABLE = "Debian has no package of it"
"""What the reason of a test says that may be skipped anywhere."""


TESTS = Path(__file__).parent
_MEASURES = "COVERAGE_PROCESS_CONFIG"
_MEASURING = os.environ.get(_MEASURES)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes minutes, so that at the end no core waits for it."""
    first = ("tests/box/test_kills.py", "tests/box/test_first_boot_kills.py", "tests/box/")
    items.sort(key=lambda item: [not item.nodeid.startswith(each) for each in first])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Have what a test starts measured or not, by its layer; coverage sets this for all."""
    if _MEASURING is None:
        return
    os.environ.pop(_MEASURES, None)
    if item.path.relative_to(TESTS).parts[0] not in UNMEASURED:
        os.environ[_MEASURES] = _MEASURING


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    """A kit of this test's own; whatever it started is gone afterwards."""
    with running_kit(tmp_path / "home") as made:
        yield made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI nothing may be missing that can be installed: there a skipped test has failed."""
    report = yield
    if report.skipped and os.environ.get("CI") and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2]
        if NOT_INSTALLABLE not in reason:
            report.outcome = "failed"
            report.longrepr = f"{report.nodeid} was skipped, which CI does not allow: {reason}"
    return report
