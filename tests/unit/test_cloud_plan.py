"""The plan for a cloud: names that fit, and values that cannot be."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.rooms import DATABASE, GCP_DATABASE, a_gcp_plan, a_plan
from trackstack import names, spec
from trackstack.cloud_plan import Aws, bucket_name
from trackstack.errors import UsageError
from trackstack.plan import make_plan
from trackstack.spec.cloud import EXAMPLES

ENVIRONMENTS = st.from_regex(r"[a-z]([a-z0-9-]{0,29}[a-z0-9])?", fullmatch=True)
GCP_NETWORK = {
    "network": "projects/shared/global/networks/given",
    "subnet": "projects/shared/regions/us-central1/subnetworks/given",
}
NETWORK = {"vpc": "vpc-0", "subnet": "subnet-0", "cidr": "10.0.0.0/16"}


@given(ENVIRONMENTS, ENVIRONMENTS)
def test_two_environments_never_share_a_bucket_and_each_name_fits(one: str, other: str) -> None:
    first, second = (
        bucket_name(name, "123456789012", "ap-southeast-1", "artifacts") for name in (one, other)
    )
    assert (first == second) is (one == other)
    assert len(first) <= 63
    assert "--" not in first


@pytest.mark.parametrize(
    ("name", "longest", "fitting"),
    [
        ("team", 10, "team"),
        ("team--a", 20, "team-a-7d96c9f8"),
        ("a-very-long-name", 14, "a-ver-"),
    ],
)
def test_a_name_is_changed_only_when_it_does_not_fit(name: str, longest: int, fitting: str) -> None:
    assert names.fitted(name, longest).startswith(fitting)
    assert len(names.fitted(name, longest)) <= longest


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"zones": ("us-east-1a",)}, "is not in region"),
        ({"zones": ("eu-central-1a",), "database": DATABASE}, "two of them"),
        ({"given": {"network": NETWORK}, "database": DATABASE}, "two given subnets"),
        ({"allow": ()}, "at least 1 item"),
        ({"allow": ("10.0.0.1/8",)}, "has host bits set"),
        ({"tags": {"Name": "mine"}}, "is the kit's own"),
        ({"given": {"artifact_bucket": "another"}}, "another than the given one"),
        ({"account": "1234"}, "should match pattern"),
        ({"nonsense": 1}, "not permitted"),
    ],
)
def test_a_plan_that_cannot_be_made_true_is_refused(changes: dict[str, Any], because: str) -> None:
    with pytest.raises(ValidationError, match=because):
        a_plan(**changes)


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"zone": "europe-west1-b"}, "is not in region"),
        ({"snapshot_time": "03:30"}, "on the hour, not at 03:30"),
        ({"control_bucket": "trackstack-g00gle-control"}, "have 'google' in it"),
        ({"tags": {"Team": "vision"}}, "Team=vision is no label"),
        ({"tags": {"managed-by": "me"}}, "is the kit's own"),
        ({"given": {"artifact_bucket": "another"}}, "another than the given one"),
        ({"given": {"network": GCP_NETWORK}, "database": GCP_DATABASE}, "peered with it"),
    ],
)
def test_a_plan_that_google_could_not_make_true_is_refused(
    changes: dict[str, Any], because: str
) -> None:
    with pytest.raises(ValidationError, match=because):
        a_gcp_plan(**changes)


def test_what_cannot_be_together_is_told_in_a_sentence() -> None:
    content = spec.defaults("gcp", "google-team", "ada", "3.0.0")
    asked = spec.merged(content, EXAMPLES["gcp"])
    with pytest.raises(UsageError) as told:
        make_plan(spec.validate(asked, "The spec"), "lock")
    assert told.value.sentence == (
        "Environment 'google-team' cannot be made so: Google Cloud lets no bucket's name have "
        "'google' in it."
    )


def test_a_plan_comes_back_from_the_stacks_configuration_as_it_was() -> None:
    plan = a_plan(database=DATABASE)
    assert Aws.model_validate_json(plan.model_dump_json()) == plan


def test_a_removal_names_the_last_snapshot_and_a_purge_makes_none() -> None:
    at = datetime(2026, 11, 21, 3, 0, 1, tzinfo=UTC)
    plan = a_plan(database=DATABASE)
    kept, purged = plan.for_removal(at), plan.for_removal(at, purge=True)
    assert kept.database
    assert purged.database
    assert kept.database.final_snapshot == "trackstack-team-final-20261121-030001"
    assert (kept.protect, purged.protect) == (True, False)
    assert purged.database.final_snapshot is None
    assert not kept.database.deletion_protection
