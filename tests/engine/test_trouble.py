"""What goes wrong in the cloud and on this computer, told in a sentence, and run again."""

import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from engine.cloud import Cloud
from engine.driver import Driver, driver
from engine.provider import served
from engine.rooms import (
    GCP_DATABASE,
    PASSWORD,
    a_gcp_plan,
    a_plan,
    a_project,
    room,
    state_of,
)
from trackstack.cloud_plan import Aws
from trackstack.errors import MissingError, TrackstackError
from trackstack.targets import engine
from trackstack.targets.engine import Room
from trackstack.targets.engine_failures import HeldError, ResourceError

NO_ROOM = "InsufficientInstanceCapacity: We currently do not have sufficient t3.small capacity"


@pytest.fixture(scope="module")
def runs() -> Iterator[Driver]:
    """Deploys in processes of their own."""
    with driver() as made:
        yield made


def test_what_failed_is_told_and_the_next_run_makes_only_what_is_missing(
    here: Room, cloud: Cloud
) -> None:
    cloud.refuse("create", "ec2.Instance", NO_ROOM)
    with pytest.raises(ResourceError) as told:
        engine.up(here, a_plan())
    assert told.value.sentence == f"machine (Instance) failed: {NO_ROOM}."
    assert "another machine type" in str(told.value.hint)
    cloud.calls.clear()
    assert engine.up(here, a_plan()).changes == {"make": ["data-attachment", "machine"]}
    assert cloud.calls == [("create", "ec2.Instance"), ("create", "ec2.VolumeAttachment")]


def test_each_trouble_of_a_deploy_is_told_with_its_way_out_and_the_next_run_goes_on(
    here: Room, cloud: Cloud
) -> None:
    troubles = [
        ("s3.Bucket", "RequestLimitExceeded: Request limit exceeded", "in a minute"),
        ("ec2.Eip", "AddressLimitExceeded: The maximum number of addresses", "page of quotas"),
        ("ec2.Instance", "ExpiredToken: The provided token has expired", "Sign in again"),
    ]
    for kind, reason, way in troubles:
        cloud.refuse("create", kind, reason)
        with pytest.raises(ResourceError, match=reason) as told:
            engine.up(here, a_plan())
        assert way in str(told.value.hint)
    engine.up(here, a_plan())
    asked = Counter(cloud.calls)
    refused = Counter(("create", kind) for kind, _, _ in troubles)
    assert asked - refused == Counter(("create", kind) for kind in cloud.kinds())


@pytest.mark.parametrize(
    ("whose", "told"),
    [
        ("half", "record of this environment is damaged"),
        ("nobody's", "of environment 'team' is empty, although it was made"),
        ("another's", "in the place of environment 'team' is of environment 'other'"),
    ],
)
def test_a_damaged_or_foreign_state_is_told_and_nothing_is_touched(
    here: Room, cloud: Cloud, deployed: Aws, whose: str, told: str
) -> None:
    (kept,) = (here.home.parent / "state").rglob("stacks/**/team.json")
    whole = kept.read_text()
    changed = {
        "half": whole[: len(whole) // 2],
        "nobody's": "{}",
        "another's": whole.replace("urn:pulumi:team::", "urn:pulumi:other::"),
    }[whose]
    kept.write_text(changed)
    with pytest.raises(TrackstackError, match=told) as raised:
        engine.unfinished(here, deployed, made=True)
    assert "earlier version" in str(raised.value.hint)
    assert cloud.calls == []
    assert kept.read_text() == changed


def test_who_was_killed_is_told_to_the_next(here: Room, cloud: Cloud, runs: Driver) -> None:
    reached, gone = threading.Event(), threading.Event()

    def wait() -> None:
        reached.set()
        assert gone.wait(240)

    cloud.trouble("create", "ec2.Subnet", before=wait)
    run = runs.begin("up", here, a_plan())
    assert reached.wait(240), "the deploy never came so far"
    run.kill()
    run.ended()
    gone.set()
    with pytest.raises(HeldError) as held:
        engine.up(here, a_plan())
    assert held.value.pid not in (0, os.getpid())
    assert held.value.host == os.uname().nodename


def test_a_bucket_whose_making_was_never_answered_is_not_made_twice(
    here: Room, cloud: Cloud
) -> None:
    cloud.lose_answer("create", "s3.Bucket")
    with pytest.raises(ResourceError, match="connection reset by peer"):
        engine.up(here, a_plan())
    with pytest.raises(ResourceError, match="already exists"):
        engine.up(here, a_plan())
    assert len(cloud.of("s3.Bucket")) == 2, "one of each name"


def test_a_second_run_at_once_is_told_who_is_at_work(
    here: Room, cloud: Cloud, runs: Driver
) -> None:
    reached, told = threading.Event(), threading.Event()

    def wait() -> None:
        reached.set()
        assert told.wait(240)

    cloud.trouble("create", "ec2.Vpc", before=wait)
    run = runs.begin("up", here, a_plan())
    assert reached.wait(240), "the first one never came so far"
    with pytest.raises(HeldError) as held:
        engine.up(here, a_plan())
    told.set()
    assert run.ended() == (0, "")
    assert held.value.exit_code == 5
    assert held.value.who in held.value.sentence
    assert held.value.since[:4].isdigit()


def test_another_key_does_not_open_a_state_with_a_secret_and_none_is_in_clear(
    tmp_path: Path,
) -> None:
    plan = a_gcp_plan(database=GCP_DATABASE)
    with served(a_project()) as port:
        here = room(tmp_path, port, package="gcp")
        engine.up(here, plan, secrets={"database_password": SecretStr(PASSWORD)})
        kept = state_of(here)
        assert "first-user" in kept, "the state was not looked into"
        assert PASSWORD not in kept
        with pytest.raises(TrackstackError, match="it was made with another one"):
            engine.preview(here.model_copy(update={"key": SecretStr("another")}), plan)


def test_credentials_of_another_account_change_nothing(here: Room, cloud: Cloud) -> None:
    with pytest.raises(TrackstackError, match="account ID not allowed"):
        engine.up(here, a_plan(account="999999999999"))
    assert cloud.things == {}


def test_no_engine_on_this_computer_is_told(here: Room, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="is missing on this computer"):
        engine.outputs(here.model_copy(update={"program": tmp_path / "pulumi"}))


def test_an_engine_that_is_too_old_is_told(here: Room, tmp_path: Path) -> None:
    old = tmp_path / "pulumi"
    old.write_text("#!/bin/sh\necho v3.100.0\n")
    old.chmod(0o755)
    with pytest.raises(MissingError, match=r"is version 3\.100\.0; 3\.250\.0 or newer"):
        engine.outputs(here.model_copy(update={"program": old}))
