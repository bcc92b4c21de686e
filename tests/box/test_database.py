"""A machine whose runs are in its cloud's PostgreSQL."""

import hashlib
from collections.abc import Iterator

import pytest

from box.deployed import NAME, Box, answering, box
from box.left import left
from engine.world.aws import AwsWorld
from kits import eventually

BACK_SECONDS = 60.0
BUCKET = {"aws": "s3.Bucket", "gcp": "storage.Bucket"}
KEPT = {"rds.Snapshot", "projects.Service"}
"""A removal's last snapshot, and interfaces, which others may use too."""


@pytest.fixture(scope="module", params=["aws", "gcp"])
def account(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Box]:
    """A cloud for the tests of this module."""
    with box(request.param, tmp_path_factory.mktemp(request.param)) as made:
        yield made


@pytest.fixture(scope="module")
def untouched(account: Box) -> list[str]:
    """What the cloud has on this computer before anything is deployed."""
    return left(account.world.network.bridge, account.folder)


@pytest.fixture(scope="module")
def somebodys(account: Box) -> dict[str, object]:
    """What was in the account before, and is nothing to us."""
    kind = {"aws": "ec2.Vpc", "gcp": "compute.Network"}[account.cloud]
    return {kind: account.world.cloud.plant(kind, "planted", cidrBlock="10.1.0.0/16", tags={})}


@pytest.fixture
def managed(account: Box, untouched: list[str], somebodys: dict[str, object]) -> Box:
    """An environment with a PostgreSQL; deployed by whoever comes first, or after a purge."""
    assert untouched
    assert somebodys
    if not account.machines.all:
        account.first_deploy("--database", "postgres")
    return account


def test_a_deploy_with_the_clouds_postgresql_is_verified_and_keeps_runs_there(
    managed: Box,
) -> None:
    receipt = managed.receipts()[0]
    assert [check for check in receipt["checks"] if not check["held"]] == []
    assert not receipt["from_machine"]
    seen = managed.mlflow_client()
    assert seen["received"] == seen["sent"]
    there = managed.database.sql("SELECT run_uuid FROM runs", "mlflow").split()
    assert seen["run"] in there


def test_what_verify_logged_is_removed_from_it(managed: Box) -> None:
    said = managed.guest.run("cat /var/lib/trackstack/machine/logs/agent.log")
    assert "mlflow gc" not in said
    assert managed.guest.run("cat /var/lib/trackstack/machine/data/cleaned").strip() >= "1"


def test_only_the_machine_can_connect_to_the_database(managed: Box) -> None:
    address = managed.database.address
    assert answering(managed.guest.socket, address, [5432]) == [5432]
    assert answering(managed.inside, address, [5432]) == []
    assert answering(managed.outside, address, [5432]) == []
    assert managed.database.password not in managed.machine.console


def test_a_database_that_is_away_is_told_and_served_from_again(managed: Box) -> None:
    run = managed.mlflow_client()["run"]
    with managed.machines.wires.away(managed.database.address):
        assert managed.status() == 503
    assert eventually(managed.serves, BACK_SECONDS), managed.console()
    assert managed.has_run(run)


@pytest.mark.parametrize("account", ["aws"], indirect=True)
def test_when_the_cloud_rotates_the_databases_first_password_nobody_notices(managed: Box) -> None:
    assert isinstance(managed.world, AwsWorld)
    with managed.at_work() as noticed:
        managed.world.rotate_master_secret()
        assert managed.status("late", managed.people("add", "late")) == 200
        managed.people("remove", "late")
    assert noticed["failed"] == []


def test_a_removal_keeps_all_and_the_next_deploy_takes_it_up(managed: Box) -> None:
    logged = managed.mlflow_client()
    grace = managed.people("add", "grace")
    disk = managed.file_system()
    managed.laptop.run("destroy", "-e", NAME, "--yes")
    assert not managed.machines.all
    if managed.cloud == "aws":
        assert len(managed.world.cloud.of("rds.Snapshot")) == 1
    else:
        (stopped,) = managed.world.cloud.of("sql.DatabaseInstance")
        assert stopped.inputs["settings"]["activationPolicy"] == "NEVER"

    assert "Taken up again as it was" in managed.deploy()
    assert managed.file_system() == disk
    assert managed.has_run(logged["run"])
    assert hashlib.sha256(managed.artifact(logged).content).hexdigest() == logged["sent"]
    assert managed.status("grace", grace) == 200
    managed.people("remove", "grace")


def test_a_purge_leaves_nothing_of_it_in_the_cloud_nor_on_this_computer(
    managed: Box, untouched: list[str], somebodys: dict[str, object]
) -> None:
    buckets = [each.id for each in managed.world.cloud.of(BUCKET[managed.cloud])]
    assert [managed.has_bucket(each) for each in buckets] == [True, True]
    managed.laptop.run("destroy", "--purge", "--confirm", NAME, "-e", NAME)
    assert {
        kind for kind in managed.world.cloud.kinds() if kind not in KEPT | somebodys.keys()
    } == set()
    for kind, thing in somebodys.items():
        assert managed.world.cloud.one(kind) is thing
    assert [each for each in buckets if managed.has_bucket(each)] == []
    assert left(managed.world.network.bridge, managed.folder) == untouched
    again = managed.laptop.run("destroy", "--purge", "--confirm", NAME, "-e", NAME)
    assert again.returncode == 0
