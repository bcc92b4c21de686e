"""Every branch of every option of the programs, planned by the real engine and kept as a file.

To make them anew after a change that is meant: TRACKSTACK_GOLDEN=write pytest tests/stacks
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from graphs import graph
from pulumi import automation as auto

from engine import schema
from engine.provider import served
from engine.rooms import ACCOUNT, DATABASE, REGION, a_cloud, a_plan, room
from trackstack.targets import engine
from unit.golden import compare

GOLDEN = Path(__file__).parent / "golden"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555"
BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/boundary"
NETWORK = {
    "vpc": "vpc-0aaa",
    "subnet": "subnet-0aaa",
    "cidr": "10.9.0.0/16",
    "database_subnets": ("subnet-0bbb", "subnet-0ccc"),
}
GIVEN = {
    "network": NETWORK,
    "artifact_bucket": "given-artifacts",
    "machine_profile": "given-machine",
    "snapshot_role": f"arn:aws:iam::{ACCOUNT}:role/given-snapshots",
    "key": KEY,
}

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "database": {"database": DATABASE},
    "database-in-two-zones": {"database": DATABASE.model_copy(update={"multi_az": True})},
    "database-restored": {"database": DATABASE.model_copy(update={"from_snapshot": "before"})},
    "database-before-removal": {
        "database": DATABASE.model_copy(
            update={"deletion_protection": False, "final_snapshot": None}
        ),
        "protect": False,
    },
    "allow-both-kinds": {"allow": ("198.51.100.0/24", "2001:db8::/32")},
    "allow-version-6": {"allow": ("2001:db8::/32",)},
    "own-tags": {"tags": {"team": "vision", "cost-center": "42"}},
    "own-key": {"given": {"key": KEY}, "database": DATABASE},
    "permissions-boundary": {"given": {"permissions_boundary": BOUNDARY}},
    "given-network": {"given": {"network": NETWORK}, "database": DATABASE},
    "given-bucket": {
        "given": {"artifact_bucket": "given-artifacts"},
        "artifact_bucket": "given-artifacts",
    },
    "given-roles": {
        "given": {
            "machine_profile": "given-machine",
            "snapshot_role": f"arn:aws:iam::{ACCOUNT}:role/given-snapshots",
        },
        "database": DATABASE,
    },
    "given-all": {"given": GIVEN, "artifact_bucket": "given-artifacts", "database": DATABASE},
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[auto.Stack]:
    """An empty stack; its program is put in by each test."""
    folder = tmp_path_factory.mktemp("graphs")
    with served(a_cloud()) as port:
        yield engine.open_stack(room(folder, port), a_plan())


@pytest.fixture(params=OPTIONS)
def planned(
    request: pytest.FixtureRequest, stack: auto.Stack, tmp_path: Path
) -> tuple[str, list[dict[str, Any]]]:
    """An option set's name, and the graph that the engine plans for it."""
    stack.workspace.program = engine.program_of(a_plan(**OPTIONS[request.param]))
    text = graph(stack, tmp_path / "plan.json")
    compare(request.param, {"aws.json": text}, GOLDEN)
    return request.param, json.loads(text)


def test_the_graph_is_as_kept(planned: tuple[str, list[dict[str, Any]]]) -> None:
    """And all that can carry tags has those of the kit and the environment."""
    _, resources = planned
    for resource in resources:
        if resource["type"].startswith("pulumi:"):
            continue
        tags = resource["inputs"].get("tags")
        if "tagsAll" in schema.outputs(resource["type"]):
            assert tags, f"{resource['name']} has no tags"
            assert tags["managed-by"] == "trackstack"
            assert tags["trackstack:environment"] == "team"


def test_everything_given_is_taken_and_nothing_beside_it_made() -> None:
    kept = json.loads((GOLDEN / "given-all" / "aws.json").read_text())
    types = {resource["type"].split(":")[-1] for resource in kept}
    assert not types & {"Vpc", "Subnet", "Role", "RolePolicy", "InstanceProfile"}
    assert [r["name"] for r in kept if r["type"].endswith(":Bucket")] == ["control"]
