"""The command as a person types it, on Google Cloud: to a verified server, and back."""

import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from engine.rooms import GCP_IMAGE, NEWER_GCP_IMAGE, PROJECT
from engine.world.aws import Laptop
from engine.world.gcp import GcpWorld, gcp_world

READ = "/api/2.0/mlflow/experiments/search?max_results=1"
HERE = ("--project", PROJECT, "-e", "team", "--yes")


@pytest.fixture
def gcp(tmp_path: Path) -> Iterator[GcpWorld]:
    """A Google Cloud project around the program, with machines that run."""
    with gcp_world(tmp_path / "gcp") as world:
        yield world


def machine_url(world: GcpWorld) -> str:
    (machine,) = world.machines.all.values()
    return f"https://{machine.address}"


def status_of(world: GcpWorld, laptop: Laptop, password: str) -> int:
    """What ada's client gets that trusts only the environment's own authority."""
    context = ssl.create_default_context(cafile=laptop.folder("team") / "ca.pem")
    with httpx.Client(verify=context, trust_env=False, timeout=30) as client:
        return client.get(f"{machine_url(world)}{READ}", auth=("ada", password)).status_code


def test_what_is_deployed_is_verified_kept_by_a_removal_and_gone_after_a_purge(
    gcp: GcpWorld, tmp_path: Path
) -> None:
    laptop = gcp.laptop(tmp_path / "first")
    allow = ("--allow", f"{gcp.network.laptop}/32")
    flags = (*HERE, *allow, "--user", "ada", "--password-file", "ada.txt")
    laptop.run("deploy", "gcp", *flags, timeout=400)
    password = (laptop.home.parent / "ada.txt").read_text().strip().partition(":")[2]
    assert status_of(gcp, laptop, password) == 200
    (receipt,) = (laptop.folder("team") / "receipts").iterdir()
    assert all(check["held"] for check in json.loads(receipt.read_text())["checks"])

    # A newer image is out, another laptop with nothing on it, fewer flags: nothing changes.
    gcp.cloud.images = {NEWER_GCP_IMAGE: "X86_64", GCP_IMAGE: "X86_64"}
    gcp.cloud.calls.clear()
    other = gcp.laptop(tmp_path / "other")
    assert "team" in other.run("list", "--account", "gcp").stdout
    again = other.run("deploy", "gcp", *HERE)
    assert "Nothing changed" in again.stdout, again.stdout + again.stderr
    assert gcp.cloud.calls == []

    # A rotation, a change of who may connect, another machine type: each as it should be.
    laptop.run("users", "rotate", "ada", "--password-file", "new.txt")
    new = (laptop.home.parent / "new.txt").read_text().strip().partition(":")[2]
    assert (status_of(gcp, laptop, password), status_of(gcp, laptop, new)) == (401, 200)
    laptop.run("allow", "add", "10.9.0.0/24", "--yes")
    assert gcp.cloud.calls == [("update", "compute.Firewall")]
    url = machine_url(gcp)
    laptop.run("deploy", "gcp", *HERE, "--machine", "e2-medium", timeout=400)
    assert gcp.cloud.calls[1:] == [("update", "compute.Instance")]
    assert machine_url(gcp) == url
    assert "Uvicorn running" in laptop.run("logs", "mlflow").stdout

    # The machine was let do all that it asked for, and could not have written what is desired.
    assert gcp.calls
    assert [call for call in gcp.calls if not call[2]] == []
    bindings = {each.id for each in gcp.cloud.of("storage.BucketIAMMember")}
    assert bindings - gcp.used == set(), "the machine may do what it never does"
    written = {name for action, name, _ in gcp.calls if action in {"create", "delete"}}
    assert not any("/desired/" in name for name in written)

    gone = laptop.run("destroy", "--yes")
    assert "kept: gs://" in gone.stdout
    assert not gcp.machines.all
    back = laptop.run("deploy", "gcp", *HERE, timeout=400)
    assert "Taken up again as it was" in back.stdout, back.stdout + back.stderr
    assert status_of(gcp, laptop, new) == 200

    laptop.run("destroy", "--purge", "--confirm", "team")
    # The interfaces are left on: others may use them.
    assert {kind for kind in gcp.cloud.kinds() if kind != "projects.Service"} == set()
    assert "no environment" in laptop.run("list", "--account", "gcp").stdout


def test_what_cannot_be_is_told_before_anything_is_touched(gcp: GcpWorld, tmp_path: Path) -> None:
    allow = ("--allow", "10.0.0.0/8")
    laptop = gcp.laptop(tmp_path / "home")
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    table: list[tuple[dict[str, str], tuple[str, ...], int, str]] = [
        ({}, HERE, 2, "Nobody has said who may connect"),
        ({}, (*HERE, *allow, "--machine", "e2-smal"), 2, "Did you mean 'e2-small'?"),
        ({}, ("--project", "another-project", *allow, "--yes"), 2, "see no Google Cloud project"),
        ({"GOOGLE_APPLICATION_CREDENTIALS": str(broken)}, (*HERE, *allow), 2, "holds no Google"),
        ({"GOOGLE_REGION": ""}, (*HERE, *allow), 2, "No Google Cloud region is known"),
        ({}, (*HERE[:-1], *allow), 2, "Say `--yes`"),
    ]
    for variables, words, code, sentence in table:
        done = laptop.run("deploy", "gcp", *words, ok=False, **variables)
        assert done.returncode == code, f"{words}: {done.stderr}"
        assert sentence in done.stderr, f"{words}: {done.stderr}"
    assert gcp.cloud.calls == []
