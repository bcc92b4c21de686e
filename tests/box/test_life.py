"""What a machine goes through, and serves again by itself."""

import hashlib

import pytest

from box.deployed import NAME, Box
from box.one_cloud import on_aws, on_gcp
from kits import eventually
from soak.load import load, wait_until_all_write

BACK_SECONDS = 60.0
BOOT_SECONDS = 120.0


def test_a_machine_that_boots_again_serves_again_by_itself(deployed: Box) -> None:
    run = deployed.mlflow_client()["run"]
    before = deployed.guest.leader()
    deployed.guest.run("systemctl reboot")
    assert eventually(lambda: deployed.guest.leader() not in (None, before), BOOT_SECONDS), (
        "the machine never ended"
    )
    assert eventually(deployed.serves, BOOT_SECONDS), deployed.console()
    assert deployed.has_run(run)


@on_gcp
def test_power_that_fails_costs_nothing_that_was_answered_a_moment_before(deployed: Box) -> None:
    writer = deployed.writer()
    with load([writer]):
        wait_until_all_write([writer], BOOT_SECONDS)
        deployed.machines.cut_power(deployed.machine)
        wait_until_all_write([writer], BOOT_SECONDS)
    assert writer.lost() == []


@on_aws
@pytest.mark.parametrize("program", ["uvicorn", "nginx: master"])
def test_a_program_that_is_killed_is_back(deployed: Box, program: str) -> None:
    find = f"pgrep -o -u trackstack-mlflow,trackstack-nginx -f '{program}'"
    killed = deployed.guest.run(find)
    deployed.guest.run(f"kill -KILL {killed}")

    def back() -> bool:
        return deployed.guest.attempt(find).stdout not in ("", killed) and deployed.serves()

    assert eventually(back, BACK_SECONDS), deployed.guest.attempt("ps -ef").stdout


def test_another_machine_takes_over_address_authority_users_and_runs(deployed: Box) -> None:
    run = deployed.mlflow_client()["run"]
    authority = (deployed.laptop.folder(NAME) / "ca.pem").read_bytes()
    address, old = deployed.machine.address, deployed.machine.id
    disk = deployed.file_system()
    deployed.lose_the_machine()
    deployed.deploy("--refresh")
    assert deployed.machine.id != old
    assert deployed.machine.address == address
    assert (deployed.laptop.folder(NAME) / "ca.pem").read_bytes() == authority
    assert deployed.status() == 200
    assert deployed.has_run(run)
    assert deployed.file_system() == disk


@on_gcp
def test_another_machine_type_is_the_same_server(deployed: Box) -> None:
    run = deployed.mlflow_client()["run"]
    address = deployed.machine.address
    other = {"aws": "t3.medium", "gcp": "e2-medium"}[deployed.cloud]
    deployed.deploy("--machine", other)
    assert deployed.machine.address == address
    assert deployed.status() == 200
    assert deployed.has_run(run)


@on_aws
def test_a_removal_keeps_the_disk_with_its_runs_for_the_next_deploy(deployed: Box) -> None:
    logged = deployed.mlflow_client()
    disk = deployed.file_system()
    deployed.laptop.run("destroy", "-e", NAME, "--yes")
    assert not deployed.machines.all
    assert "Taken up again as it was" in deployed.deploy()
    assert deployed.file_system() == disk
    assert deployed.has_run(logged["run"])
    assert hashlib.sha256(deployed.artifact(logged).content).hexdigest() == logged["sent"]
