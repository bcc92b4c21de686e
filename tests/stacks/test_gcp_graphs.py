"""Every branch of every option of the Google program, planned by the real engine."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from graphs import graph
from pulumi import automation as auto
from pydantic import SecretStr

from engine import schema
from engine.provider import served
from engine.rooms import GCP_DATABASE, PASSWORD, a_gcp_plan, a_project, room
from trackstack.targets import engine
from unit.golden import compare

GOLDEN = Path(__file__).parent / "golden-gcp"
KEY = "projects/team-project/locations/us-central1/keyRings/team/cryptoKeys/trackstack"
NETWORK = {
    "network": "projects/shared/global/networks/given",
    "subnet": "projects/shared/regions/us-central1/subnetworks/given",
    "peered": True,
}
ACCOUNT = "given@team-project.iam.gserviceaccount.com"

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "database": {"database": GCP_DATABASE},
    "database-in-two-zones": {"database": GCP_DATABASE.model_copy(update={"regional": True})},
    "database-before-removal": {
        "database": GCP_DATABASE.model_copy(update={"stopped": True}),
    },
    "database-before-purge": {
        "database": GCP_DATABASE.model_copy(update={"deletion_protection": False}),
        "protect": False,
    },
    "allow-both-kinds": {"allow": ("198.51.100.0/24", "2001:db8::/32")},
    "allow-version-6": {"allow": ("2001:db8::/32",)},
    "own-tags": {"tags": {"team": "vision", "cost-center": "42"}},
    "own-key": {"given": {"key": KEY}, "database": GCP_DATABASE},
    "given-network": {"given": {"network": NETWORK}, "database": GCP_DATABASE},
    "given-bucket": {
        "given": {"artifact_bucket": "given-artifacts"},
        "artifact_bucket": "given-artifacts",
    },
    "given-account": {"given": {"service_account": ACCOUNT}, "database": GCP_DATABASE},
    "given-all": {
        "given": {
            "network": NETWORK,
            "artifact_bucket": "given-artifacts",
            "service_account": ACCOUNT,
            "key": KEY,
        },
        "artifact_bucket": "given-artifacts",
        "database": GCP_DATABASE,
    },
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[auto.Stack]:
    """An empty stack; its program is put in by each test."""
    folder = tmp_path_factory.mktemp("graphs")
    with served(a_project()) as port:
        yield engine.open_stack(room(folder, port, package="gcp"), a_gcp_plan())


@pytest.mark.parametrize("options", OPTIONS)
def test_the_graph_is_as_kept(options: str, stack: auto.Stack, tmp_path: Path) -> None:
    """And all that can carry labels has those of the kit and the environment."""
    secrets = {"database_password": SecretStr(PASSWORD)}
    stack.workspace.program = engine.program_of(a_gcp_plan(**OPTIONS[options]), secrets)
    text = graph(stack, tmp_path / "plan.json")
    compare(options, {"gcp.json": text}, GOLDEN)
    assert PASSWORD not in text
    for resource in json.loads(text):
        if resource["type"].startswith("pulumi:"):
            continue
        if "effectiveLabels" in schema.outputs(resource["type"]):
            labels = resource["inputs"].get("labels")
            assert labels, f"{resource['name']} has no labels"
            assert labels["managed-by"] == "trackstack"
            assert labels["trackstack-environment"] == "team"


def test_everything_given_is_taken_and_nothing_beside_it_made() -> None:
    kept = json.loads((GOLDEN / "given-all" / "gcp.json").read_text())
    types = {resource["type"].split(":")[-1] for resource in kept}
    assert not types & {"Network", "Subnetwork", "Account", "BucketIAMMember", "SecretIamMember"}
    assert [r["name"] for r in kept if r["type"].endswith(":Bucket")] == ["control"]
