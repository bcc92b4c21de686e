"""Power is cut at each step of a first boot that can be told from outside; it ends right by itself.

Of user-data's steps only `find its data disk` and `tell what is on` are not among them: they make
nothing, and last a few milliseconds. Of the agent's, that users are let in, and those that last:
test_kills.py cuts power at each.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from box import disks
from box.deployed import Box
from box.moments import Moment, begins, cut_at, files, lets_in, written
from trackstack.desired import AUTHORITIES_KEY

ENABLED = "etc/systemd/system/multi-user.target.wants"
DISK = "var/lib/trackstack"

BEFORE_ITS_DISK: dict[str, Callable[[Path], bool]] = {
    "write its files": lambda root: (root / "etc/trackstack/machine.json").exists(),
    "ask what packages there are": lambda root: any((root / "var/lib/apt/lists").rglob("*_*")),
    "install": lambda root: any((root / "var/lib/dpkg/updates").iterdir()),
    "make its users": lambda root: "trackstack:" in (root / "etc/group").read_text(),
}
ON_ITS_DISK: dict[str, Callable[[Path], bool]] = {
    "mount": lambda root: (root / ENABLED / "var-lib-trackstack.mount").is_symlink(),
    "give its users their part of the disk": lambda root: (root / DISK / "machine").exists(),
    "start its service": lambda root: (root / ENABLED / "trackstack.service").is_symlink(),
    "fetch the agent": lambda root: (root / DISK / "agent").exists(),
    "make a place for the agent's packages": lambda root: (root / DISK / "agent/new").exists(),
    "install the agent's packages": lambda root: any(
        (root / DISK / "agent/new").glob("lib/*/site-packages/boto*")
    ),
}
AMID: dict[str, Callable[[Path], bool]] = {
    "packages": lambda root: any(
        (root / DISK / "machine/packages").glob("*/lib/*/site-packages/*")
    ),
    "mlflow": lambda root: (root / DISK / "machine/data/mlflow.db").exists(),
}
"""What the agent's steps make that last for seconds."""


@pytest.mark.parametrize("empty", ["aws"], indirect=True)
def test_a_first_deploy_ends_well_after_power_cuts_at_all_steps_of_the_first_boot(
    empty: Box,
) -> None:
    formatted = ""
    with ThreadPoolExecutor(1) as pool, written(empty, AUTHORITIES_KEY) as authorities:
        deploy = pool.submit(empty.first_deploy)
        for name, moment in _of_a_first_boot(empty).items():
            cut_at(empty, name, moment, deploy)
            formatted = formatted or disks.identity(_volume(empty))
        deploy.result()
    assert [check for check in empty.receipts()[-1]["checks"] if not check["held"]] == []
    assert empty.serves()
    assert empty.file_system() == formatted, "it was formatted again"
    assert len(set(authorities)) == 1, "it had several authorities"
    assert empty.guest.run("systemctl --failed --plain --no-legend") == ""


def _of_a_first_boot(box: Box) -> dict[str, Moment]:
    """All moments, in their order."""
    moments = {name: files(made) for name, made in BEFORE_ITS_DISK.items()}
    moments["format"] = files(lambda _: _volume(box).stat().st_blocks > 0)
    moments |= {name: files(made) for name, made in ON_ITS_DISK.items()}
    moments["users"] = lets_in(1)
    for step, made in AMID.items():
        moments[step] = begins(step)
        moments[f"amid {step}"] = files(made)
    moments["nginx"] = begins("nginx")
    return moments


def _volume(box: Box) -> Path:
    """The file that is the machine's data disk."""
    (name,) = box.machine.volumes
    return box.machines.volume(name) / "disk"
