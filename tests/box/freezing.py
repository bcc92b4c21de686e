"""A control group that stands still, until its processes die where they stand."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from kits import eventually


@dataclass(frozen=True)
class _Freezer:
    """How a version of control groups has it: files of a group, and what stands in them."""

    asked: str
    on: str
    off: str
    told: str
    frozen: str


_FREEZERS = (
    _Freezer("freezer.state", "FROZEN", "THAWED", "freezer.state", "FROZEN\n"),
    _Freezer("cgroup.freeze", "1", "0", "cgroup.events", "frozen 1\n"),
)
"""https://docs.kernel.org/admin-guide/cgroup-v1/freezer-subsystem.html and cgroup-v2.html"""


@contextmanager
def frozen(groups: Sequence[Path]) -> Iterator[None]:
    """Let nothing that lives in a control group run meanwhile.

    Args:
        groups: its places; at least one hierarchy of a computer can do it.
    """
    there = [
        (group, each) for group in groups for each in _FREEZERS if (group / each.asked).exists()
    ]
    assert there, f"no control group of this computer freezes: {[*map(str, groups)]}"
    group, freezer = there[0]
    (group / freezer.asked).write_text(freezer.on)
    try:
        told = group / freezer.told
        assert eventually(lambda: freezer.frozen in told.read_text(), 300), (
            f"{group} does not freeze"
        )
        yield
    finally:
        (group / freezer.asked).write_text(freezer.off)


def kill(groups: Sequence[Path]) -> None:
    """Have all of a frozen control group's processes die before they do anything else."""
    for file in (file for group in groups for file in group.rglob("cgroup.procs")):
        for pid in file.read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
