"""The tests of this folder make whole machines, so they run only where that was asked for."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from machines import Machine, running_machine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = _why_not()
    for item in items:
        if reason and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))


def _why_not() -> str | None:
    if not (os.environ.get("CI") or os.environ.get("BOX") == "1"):
        return "makes a whole machine: set BOX=1 to run it"
    if sys.platform != "linux" or os.geteuid() != 0:
        return "makes a whole machine, which only root on Linux can"
    if not shutil.which("mmdebstrap"):
        return "makes a whole machine, which wants mmdebstrap"
    return None


@pytest.fixture
def start_machine(tmp_path: Path) -> Iterator[Callable[[str], Machine]]:
    """Start a bare machine of a Debian suite; it is gone after the test."""
    with ExitStack() as stack:
        yield lambda suite: stack.enter_context(running_machine(suite, tmp_path))
