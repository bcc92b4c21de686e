"""What is asked of Google about a deployer's permissions, and of an administrator."""

from typing import Any

import pytest

from engine.rooms import PROJECT, a_gcp_plan
from trackstack.targets import gcp_permissions
from trackstack.targets.gcp_api import Api

SHARED = {
    "network": {
        "network": "projects/shared/global/networks/given",
        "subnet": "projects/shared/regions/us-central1/subnetworks/given",
    }
}


class Google(Api):
    """Permits all but what names one word in one project."""

    def __init__(self, project: str, word: str) -> None:
        self._denied = (f"projects/{project}:testIamPermissions", word)

    def post(self, _place: str, path: str, content: dict[str, Any], **_: str) -> dict[str, Any]:
        where, word = self._denied
        held = [p for p in content["permissions"] if path != where or word not in p]
        return {"permissions": held} if held else {}


@pytest.mark.parametrize(
    ("project", "word", "given", "lacking"),
    [
        (PROJECT, "nothing", {}, []),
        (PROJECT, "firewalls.create", {}, ["compute.firewalls.create"]),
        ("shared", "firewalls", {}, []),
        ("shared", "updatePolicy", SHARED, ["compute.networks.updatePolicy in shared"]),
        ("shared", "nothing", SHARED, []),
    ],
)
def test_what_is_lacking_is_told_with_the_shared_network_s_project(
    project: str, word: str, given: dict[str, Any], lacking: list[str]
) -> None:
    api = Google(project, word)
    assert gcp_permissions.denied(api, a_gcp_plan(given=given)) == lacking


def test_an_administrator_is_asked_for_a_shared_network_s_rules_only_where_there_is_one() -> None:
    shared = gcp_permissions.request("ada@example.com", a_gcp_plan(given=SHARED))
    assert "The network is of the project shared." in shared
    assert "\n- `compute.networks.updatePolicy`\n" in shared
    own = gcp_permissions.request("ada@example.com", a_gcp_plan())
    assert "networkUser" not in own
    assert own in shared
