"""What the person must be permitted to do in a Google Cloud project, held against its own word."""

from collections.abc import Iterator, Sequence

import yaml

from trackstack.cloud_plan import KIT, Gcp
from trackstack.targets.gcp_api import Api
from trackstack.templating import render

_AT_ONCE = 100
"""https://cloud.google.com/resource-manager/reference/rest/v1/projects/testIamPermissions"""


_IN_A_HOST_PROJECT = (
    "compute.firewalls.create",
    "compute.firewalls.delete",
    "compute.firewalls.get",
    "compute.firewalls.update",
    "compute.networks.updatePolicy",
)
"""For the rules of a shared network; its subnet is used by a role on the subnet alone.

https://cloud.google.com/vpc/docs/provisioning-shared-vpc
"""

_POLICIES = {
    "deployer": "policies/gcp-deployer.yaml.j2",
    "user-administrator": "policies/gcp-user-administrator.sh.j2",
    "viewer": "policies/gcp-viewer.sh.j2",
}
"""By who needs it."""


def policy(whose: str, plan: Gcp) -> str:
    """A deployer's custom role, or the bindings of a user administrator or a viewer."""
    values = {
        "database": plan.database is not None,
        "control": plan.control_bucket,
        "environment": plan.environment,
        "state": f"{KIT}-state-{plan.project_number}-{plan.region}",
    }
    return render(_POLICIES[whose], values)


def denied(api: Api, plan: Gcp) -> list[str]:
    """What these credentials lack: of the deployer's role, and in a shared network's project."""
    lacking = _lacking(api, plan.project, list(_permissions(plan)))
    network = plan.given.network
    if network and network.project != plan.project:
        there = _lacking(api, network.project, _IN_A_HOST_PROJECT)
        lacking += [f"{each} in {network.project}" for each in there]
    return lacking


def _lacking(api: Api, project: str, wanted: Sequence[str]) -> list[str]:
    held: set[str] = set()
    for start in range(0, len(wanted), _AT_ONCE):
        answer = api.post(
            "resource_manager",
            f"projects/{project}:testIamPermissions",
            {"permissions": wanted[start : start + _AT_ONCE]},
        )
        held |= set(answer.get("permissions", []))
    return [each for each in wanted if each not in held]


def request(who: str, plan: Gcp) -> str:
    """A text for an administrator: what to permit, or what to make in place of it."""
    values = {
        "who": who,
        "environment": plan.environment,
        "project": plan.project,
        "region": plan.region,
        "host": plan.given.network.project if plan.given.network else plan.project,
        "host_permissions": _IN_A_HOST_PROJECT,
        "role": policy("deployer", plan),
    }
    return render("policies/gcp-request.md.j2", values)


def _permissions(plan: Gcp) -> Iterator[str]:
    yield from yaml.safe_load(policy("deployer", plan))["includedPermissions"]
