"""Power is cut at each step that can be told from outside; the machine ends right by itself.

Of the agent's steps those of a release are reported when they begin; of the others, that users are
let in. tests/agent/test_kills.py kills at each effect of each.
"""

from concurrent.futures import ThreadPoolExecutor

from box.deployed import USER, Box
from box.moments import (
    OF_A_RELEASE,
    begins,
    cut_at,
    lets_in,
    reads,
    told,
    users_generation,
)
from box.one_cloud import on_aws
from box.test_changes import REFUSED, other_than
from kits import eventually
from soak.load import load, wait_until_all_write
from trackstack.desired import Users

BACK_SECONDS = 120.0


@on_aws
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


@on_aws
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
