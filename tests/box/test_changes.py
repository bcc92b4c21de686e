"""What is changed on a server that somebody works with, who must not notice."""

import shutil
from pathlib import Path

import pytest

from box.deployed import NAME, Box, answering
from box.one_cloud import on_gcp
from trackstack import bundle

# A wrong password, and one of many in a short time.
REFUSED = {401, 429}


@on_gcp
def test_people_come_change_and_go_at_once_and_who_works_does_not_notice(deployed: Box) -> None:
    calls = len(deployed.world.cloud.calls)
    with deployed.at_work() as noticed:
        first = deployed.people("add", "grace")
        assert deployed.status("grace", first) == 200
        second = deployed.people("rotate", "grace", "--keep-old", "1h")
        assert [deployed.status("grace", each) for each in (first, second)] == [200, 200]
        third = deployed.people("rotate", "grace")
        assert deployed.status("grace", third) == 200
        assert {deployed.status("grace", each) for each in (first, second)} <= REFUSED
        deployed.people("remove", "grace")
        assert deployed.status("grace", third) in REFUSED
    assert noticed["failed"] == []
    assert min(noticed["kept"], noticed["new"]) > 0
    assert deployed.world.cloud.calls[calls:] == []


def test_a_network_is_let_in_and_out_by_one_change_in_place_each(deployed: Box) -> None:
    calls = len(deployed.world.cloud.calls)
    address, network = deployed.machine.address, f"{deployed.outside.address}/32"

    def reached() -> list[int]:
        return answering(deployed.outside, address, [443])

    assert reached() == []
    with deployed.at_work() as noticed:
        deployed.laptop.run("allow", "add", network, "-e", NAME, "--yes")
        assert reached() == [443]
        deployed.laptop.run("allow", "remove", network, "-e", NAME, "--yes")
        assert reached() == []
    assert noticed["failed"] == []
    assert noticed["new"] > 0
    group = {"aws": "ec2.SecurityGroup", "gcp": "compute.Firewall"}[deployed.cloud]
    assert deployed.world.cloud.calls[calls:] == [("update", group)] * 2


@pytest.fixture
def careless_kit(tmp_path: Path) -> str:
    """Where Python finds a kit whose settings nginx refuses."""
    source = tmp_path / "src"
    shutil.copytree(Path(bundle.__file__).parent, source / "trackstack")
    shutil.copytree(bundle.templates(), tmp_path / "templates")
    shutil.copytree(bundle.stacks(), tmp_path / "stacks")
    settings = tmp_path / "templates" / "nginx" / "nginx.conf.j2"
    settings.write_text(f"{settings.read_text()}\nno_such_directive on;\n")
    return str(source)


def other_than(workers: int) -> int:
    """Another number of them, which is no burden on a busy computer."""
    return 1 if workers != 1 else 2


@on_gcp
def test_a_release_takes_over_from_the_one_before_and_who_works_does_not_notice(
    deployed: Box,
) -> None:
    run = deployed.mlflow_client()["run"]
    before = deployed.workers()
    wanted = other_than(before)
    with deployed.at_work() as noticed:
        said = deployed.deploy("--workers", str(wanted))
    assert f"mlflow.workers  {before} -> {wanted}" in said
    assert deployed.workers() == wanted
    assert noticed["failed"] == []
    assert noticed["kept"] > 0
    assert deployed.has_run(run)


@on_gcp
def test_a_release_that_fails_leaves_the_one_before_and_the_laptop_says_why(
    deployed: Box, careless_kit: str
) -> None:
    run = deployed.mlflow_client()["run"]
    before = deployed.workers()
    with deployed.at_work() as noticed:
        flags = ("--workers", str(other_than(before)))
        said = deployed.deploy(*flags, ok=False, PYTHONPATH=careless_kit)
    assert "nginx refuses the release's settings" in said
    assert 'unknown directive "no_such_directive"' in said
    assert noticed["failed"] == []
    assert deployed.workers() == before
    assert deployed.has_run(run)
    # Mended, the machine is well again.
    deployed.deploy("--workers", str(before))
    assert deployed.serves()
