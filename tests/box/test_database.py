"""A machine whose runs are in its cloud's PostgreSQL."""

from collections.abc import Iterator

import pytest

from box.deployed import Box, answering, box
from kits import eventually

BACK_SECONDS = 60.0


@pytest.fixture(scope="module", params=["aws", "gcp"])
def account(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Box]:
    """A cloud for the tests of this module."""
    with box(request.param, tmp_path_factory.mktemp(request.param)) as made:
        yield made


@pytest.fixture
def managed(account: Box) -> Box:
    """An environment with a PostgreSQL; deployed by whoever comes first, or after a purge."""
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


def test_only_the_machine_can_connect_to_the_database(managed: Box) -> None:
    address = managed.database.address
    assert answering(managed.guest.socket, address, [5432]) == [5432]
    assert answering(managed.inside, address, [5432]) == []
    assert answering(managed.outside, address, [5432]) == []


def test_a_database_that_is_away_is_told_and_served_from_again(managed: Box) -> None:
    run = managed.mlflow_client()["run"]
    with managed.machines.wires.away(managed.database.address):
        assert managed.status() == 503
    assert eventually(managed.serves, BACK_SECONDS), managed.console()
    assert managed.has_run(run)
