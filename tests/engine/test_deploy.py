"""Deploys on the real engine: what is made, and what is left alone."""

import pytest

from engine import wire
from engine.cloud import Cloud
from engine.conftest import Deployed
from engine.rooms import KEY, NEWER_IMAGE, USER_DATA, a_plan, state_of
from trackstack.cloud_plan import Aws
from trackstack.targets import engine
from trackstack.targets.engine import Room


def test_the_first_deploy_makes_one_of_each_and_tells_what_was_made(first_deploy: Deployed) -> None:
    made = first_deploy.cloud
    assert len(first_deploy.result.changes["make"]) == len(made.things)
    assert list(first_deploy.result.changes) == ["make"]
    assert first_deploy.result.outputs["address"] == made.one("ec2.Eip").computed["publicIp"]
    assert first_deploy.result.outputs["instance"] == made.one("ec2.Instance").id
    assert first_deploy.result.outputs["data_volume"] == made.one("ebs.Volume").id
    secret = made.one("rds.Instance").computed["masterUserSecrets"][0]["secretArn"]
    assert first_deploy.result.outputs["database_secret"] == secret


def test_each_resource_is_told_when_it_starts_and_when_it_is_done_with_its_seconds(
    first_deploy: Deployed,
) -> None:
    told = [event for event in first_deploy.told if event.resource == "data-attachment"]
    assert [event.state for event in told] == ["started", "done"]
    assert told[-1].seconds is not None
    assert told[-1].seconds >= 0


def test_the_machine_gets_the_plans_user_data_byte_for_byte(first_deploy: Deployed) -> None:
    assert first_deploy.cloud.one("ec2.Instance").inputs["userData"] == USER_DATA


def test_the_address_is_there_before_the_machine(first_deploy: Deployed) -> None:
    calls = first_deploy.cloud.calls
    assert calls.index(("create", "ec2.Eip")) < calls.index(("create", "ec2.Instance"))


def test_no_secret_is_in_state_or_event(first_deploy: Deployed) -> None:
    kept = state_of(Room(stack="team", state="", home=first_deploy.folder / "home", key=""))
    told = " ".join(event.model_dump_json() for event in first_deploy.told)
    assert "machine-profile" in kept, "the state was not looked into"
    assert KEY not in kept
    assert KEY not in told
    assert KEY not in first_deploy.result.model_dump_json()


def test_the_engine_prints_nothing(
    here: Room, deployed: Aws, capfd: pytest.CaptureFixture[str]
) -> None:
    engine.preview(here, deployed)
    assert capfd.readouterr() == ("", "")


def test_a_second_deploy_changes_nothing_although_a_newer_image_is_out(
    here: Room, cloud: Cloud, deployed: Aws
) -> None:
    assert NEWER_IMAGE in cloud.images
    assert engine.up(here, deployed).changes == {}
    assert cloud.calls == []


def test_another_image_in_the_plan_replaces_the_machine_and_keeps_disk_and_address(
    here: Room, cloud: Cloud, deployed: Aws
) -> None:
    disk, address = cloud.one("ebs.Volume"), cloud.one("ec2.Eip")
    before = cloud.one("ec2.Instance").id
    done = engine.up(here, deployed.model_copy(update={"image": NEWER_IMAGE}))
    assert done.changes == {"replace": ["data-attachment", "machine"]}
    machine = cloud.one("ec2.Instance")
    assert machine.id != before
    assert cloud.one("ec2.VolumeAttachment").inputs["instanceId"] == machine.id
    assert cloud.one("ec2.VolumeAttachment").inputs["volumeId"] == disk.id
    assert cloud.one("ec2.Eip") is address


@pytest.mark.parametrize(
    ("changes", "changed", "because"),
    [
        ({"machine_type": "t3.medium"}, "machine", "instanceType"),
        ({"allow": ("198.51.100.7/32", "2001:db8::/32")}, "machine-group", "ingress"),
    ],
)
def test_one_value_is_one_change_in_place(
    here: Room, deployed: Aws, changes: dict[str, object], changed: str, because: str
) -> None:
    would = engine.preview(here, deployed.model_copy(update=changes))
    assert would.changes == {"change": [changed]}
    assert [e.because for e in would.events if e.what == "change"] == [(because,)]


def test_what_was_removed_by_hand_is_shown_and_healed(
    here: Room, cloud: Cloud, deployed: Aws
) -> None:
    gone = cloud.one("ec2.VpcEndpoint")
    del cloud.things[gone.kind, gone.id]
    assert engine.preview(here, deployed, refresh=True).changes == {"make": ["s3"]}
    assert engine.up(here, deployed, refresh=True).changes == {"make": ["s3"]}
    assert cloud.calls == [("create", "ec2.VpcEndpoint")]


def test_a_rule_added_by_hand_is_taken_away(here: Room, cloud: Cloud, deployed: Aws) -> None:
    rules = cloud.one("ec2.SecurityGroup", "machine").inputs["ingress"]
    rules[0]["cidrBlocks"] = [*rules[0]["cidrBlocks"], "0.0.0.0/0"]
    assert engine.up(here, deployed, refresh=True).changes == {"change": ["machine-group"]}
    healed = cloud.one("ec2.SecurityGroup", "machine").inputs["ingress"]
    assert list(wire.texts(healed)).count("0.0.0.0/0") == 0


def test_two_environments_of_one_account_do_not_meet(
    here: Room, cloud: Cloud, deployed: Aws
) -> None:
    other = a_plan(
        environment="other", control_bucket="other-control", artifact_bucket="other-artifacts"
    )
    before = len(cloud.things)
    engine.up(here.model_copy(update={"stack": "other"}), other)
    assert len(cloud.of("ec2.Instance")) == 2
    assert engine.preview(here, deployed).changes == {}
    assert len(cloud.things) > before
