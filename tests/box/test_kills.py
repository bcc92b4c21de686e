"""Power is cut at each step that can be told from outside; the machine ends right by itself.

Of user-data's steps only `find its data disk` and `tell what is on` are not among them: they make
nothing, and last a few milliseconds. Of the agent's, those of a release are reported when they
begin; of the others, that users are let in. tests/agent/test_kills.py kills at each effect of each.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from box import disks
from box.deployed import USER, Box
from box.moments import (
    Moment,
    begins,
    cut_at,
    files,
    lets_in,
    reads,
    told,
    users_generation,
    written,
)
from box.test_changes import REFUSED, other_than
from kits import eventually
from soak.load import load, wait_until_all_write
from trackstack.agent.converge import STEPS
from trackstack.desired import AUTHORITIES_KEY, Users

BACK_SECONDS = 120.0
OF_A_RELEASE = [step.name for step in STEPS if step.of_release]
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
ONLY_AWS = pytest.mark.parametrize("deployed", ["aws"], indirect=True)


@pytest.mark.parametrize("empty", ["aws"], indirect=True)
def test_a_first_deploy_ends_well_after_power_cuts_at_all_steps_of_the_first_boot(
    empty: Box,
) -> None:
    formatted = ""
    with ThreadPoolExecutor(1) as pool, written(empty, AUTHORITIES_KEY) as authorities:
        deploy = pool.submit(empty.first_deploy)
        for name, moment in _of_a_first_boot(empty).items():
            cut_at(empty, name, moment, deploy)
            formatted = formatted or (disks.identity(_volume(empty)) if name == "mount" else "")
        deploy.result()
    assert [check for check in empty.receipts()[-1]["checks"] if not check["held"]] == []
    assert empty.serves()
    assert empty.file_system() == formatted, "it was formatted again"
    assert len(set(authorities)) == 1, "it had several authorities"
    assert empty.guest.run("systemctl --failed --plain --no-legend") == ""


@ONLY_AWS
def test_a_release_is_taken_up_after_power_cuts_at_all_of_its_steps_and_no_run_is_lost(
    deployed: Box,
) -> None:
    wanted = other_than(deployed.workers())
    writer = deployed.writer()
    with ThreadPoolExecutor(1) as pool, load([writer]):
        wait_until_all_write([writer], BACK_SECONDS)
        deploy = pool.submit(deployed.deploy, "--workers", str(wanted))
        for step in OF_A_RELEASE:
            cut_at(deployed, step, begins(step), deploy)
        deploy.result()
        wait_until_all_write([writer], BACK_SECONDS)
    assert writer.lost() == []
    assert deployed.workers() == wanted


@ONLY_AWS
def test_a_rotation_holds_after_power_cuts_at_all_of_its_steps_and_no_run_is_lost(
    deployed: Box,
) -> None:
    old = deployed.people("add", "grace")
    assert deployed.status("grace", old) == 200
    rotated = users_generation(deployed) + 1
    writer = deployed.writer()
    with ThreadPoolExecutor(1) as pool, load([writer]):
        wait_until_all_write([writer], BACK_SECONDS)
        rotation = pool.submit(deployed.people, "rotate", "grace")
        cut_at(deployed, "it is asked for", told(Users.KEY), rotation)
        cut_at(deployed, "the agent reads of it", reads(Users.KEY), rotation)
        cut_at(deployed, "users", lets_in(rotated), rotation)
        new = rotation.result()
        wait_until_all_write([writer], BACK_SECONDS)
    assert writer.lost() == []
    assert deployed.status("grace", new) == 200
    assert deployed.status("grace", old) in REFUSED
    deployed.people("remove", "grace")
    assert eventually(lambda: deployed.status(USER) == 200, BACK_SECONDS)


def _of_a_first_boot(box: Box) -> dict[str, Moment]:
    """All moments, in their order."""
    moments = {name: files(made) for name, made in BEFORE_ITS_DISK.items()}
    moments["format"] = files(lambda _: _volume(box).stat().st_blocks > 0)
    moments |= {name: files(made) for name, made in ON_ITS_DISK.items()}
    moments["users"] = lets_in(1)
    for step in OF_A_RELEASE:
        moments[step] = begins(step)
        if step in AMID:
            moments[f"amid {step}"] = files(AMID[step])
    return moments


def _volume(box: Box) -> Path:
    """The file that is the machine's data disk."""
    (name,) = box.machine.volumes
    return box.machines.volume(name) / "disk"
