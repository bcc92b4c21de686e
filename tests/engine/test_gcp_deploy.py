"""Deploys to Google Cloud on the real engine, where they differ from AWS's."""

from pathlib import Path

import pytest

from engine.provider import served
from engine.rooms import PROJECT, a_gcp_plan, a_project, room
from trackstack.targets import engine
from trackstack.targets.engine_failures import ResourceError

NETWORK = "projects/shared/global/networks/given"
SUBNET = "projects/shared/regions/us-central1/subnetworks/given"
GIVEN = {"network": {"network": NETWORK, "subnet": SUBNET}}


def test_the_rules_of_a_shared_network_are_its_projects_and_the_network_stays(
    tmp_path: Path,
) -> None:
    cloud, plan = a_project(), a_gcp_plan(given=GIVEN)
    network = cloud.plant("compute.Network", NETWORK, name="given")
    with served(cloud) as port:
        here = room(tmp_path, port, package="gcp")
        engine.up(here, plan)
        (rule,) = cloud.of("compute.Firewall")
        assert rule.id.startswith("projects/shared/global/firewalls/trackstack-team-")
        (machine,) = cloud.of("compute.Instance")
        assert machine.id.startswith(f"projects/{PROJECT}/")
        assert machine.inputs["networkInterfaces"][0]["subnetwork"] == SUBNET
        engine.unprotect(here)
        engine.destroy(here)
    assert cloud.of("compute.Network") == [network]
    assert cloud.of("compute.Firewall") == []


def test_another_machine_type_is_a_change_in_place(tmp_path: Path) -> None:
    cloud = a_project()
    with served(cloud) as port:
        here = room(tmp_path, port, package="gcp")
        engine.up(here, a_gcp_plan())
        done = engine.up(here, a_gcp_plan(machine_type="e2-medium"))
        assert done.changes == {"change": ["machine"]}
        assert engine.up(here, a_gcp_plan(machine_type="e2-medium")).changes == {}


def test_a_used_up_quota_is_told_and_the_next_run_makes_only_what_is_missing(
    tmp_path: Path,
) -> None:
    cloud = a_project()
    said = "Error 403: Quota 'IN_USE_ADDRESSES' exceeded. Limit: 4.0 in region us-central1."
    cloud.refuse("create", "compute.Instance", f"{said}, quotaExceeded")
    with served(cloud) as port:
        here = room(tmp_path, port, package="gcp")
        with pytest.raises(ResourceError, match="Quota 'IN_USE_ADDRESSES' exceeded") as told:
            engine.up(here, a_gcp_plan())
        assert "page of quotas" in str(told.value.hint)
        cloud.calls.clear()
        assert engine.up(here, a_gcp_plan()).changes == {"make": ["machine"]}
    assert cloud.calls == [("create", "compute.Instance")]
