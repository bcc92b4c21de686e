"""What the engine says, as the kit tells it."""

import pytest

from trackstack.errors import TrackstackError
from trackstack.targets.engine_failures import (
    CancelledError,
    FailedResource,
    HeldError,
    ResourceError,
    hint_for,
    sentence,
    translated,
)

LOCKED = """error: the stack is currently locked by 1 lock(s). Either wait for the other process(es)
  s3://bucket/.pulumi/locks/organization/trackstack/team/1.json: created by ada@laptop (pid 4711) \
at 2026-11-21T03:00:00Z"""
MACHINE = FailedResource(name="machine", type="aws:ec2/instance:Instance", reason="No room.")


def test_a_lock_is_told_with_its_holder() -> None:
    error = translated(LOCKED, "team", [], cancelled=False)
    assert isinstance(error, HeldError)
    assert (error.who, error.host, error.pid) == ("ada", "laptop", 4711)
    assert error.since == "2026-11-21T03:00:00Z"
    assert error.hint is not None
    assert "`trackstack unlock -e team`" in error.hint


def test_a_refusal_is_told_before_what_the_engine_says_of_it() -> None:
    error = translated("error: update failed", "team", [MACHINE, MACHINE], cancelled=False)
    assert isinstance(error, ResourceError)
    assert error.sentence == "machine (Instance) failed: No room. (1 more failed)"


def test_what_was_stopped_from_here_is_no_failure() -> None:
    error = translated("error: update failed", "team", [MACHINE], cancelled=True)
    assert isinstance(error, CancelledError)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("error: incorrect passphrase", "it was made with another one."),
        ("error: no stack named 'team' found", "nothing recorded"),
        ("error: failed to load checkpoint: invalid character", "is damaged"),
        ("noise\nerror: something else", "The engine failed: something else."),
    ],
)
def test_the_engines_own_troubles_are_one_sentence(said: str, told: str) -> None:
    error = translated(said, "team", [], cancelled=False)
    assert type(error) is TrackstackError
    assert told in error.sentence
    assert "\n" not in error.sentence


@pytest.mark.parametrize(
    ("reason", "way"),
    [
        ("InsufficientInstanceCapacity: none", "another machine type"),
        ("Error 503: The zone has no room, ZONE_RESOURCE_POOL_EXHAUSTED", "another machine type"),
        ("VcpuLimitExceeded: 5", "page of quotas"),
        ("Error 403: Quota 'CPUS' exceeded. Limit: 8.0, quotaExceeded", "page of quotas"),
        ("Throttling: Rate exceeded", "in a minute"),
        ("RequestLimitExceeded: Request limit exceeded", "in a minute"),
        ("Error 403: Rate Limit Exceeded, rateLimitExceeded", "in a minute"),
        ("ExpiredToken: the security token is expired", "`trackstack unlock -e team`"),
        ('oauth2: "invalid_grant" "reauth related error (invalid_rapt)"', "Sign in again"),
        ("Error 403: Required 'compute.disks.create' permission, forbidden", "administrator"),
        ("Error 400: used by 'it', resourceInUseByAnotherResource", "did not make"),
        ("UnauthorizedOperation: no", "administrator"),
        ("DependencyViolation: subnet", "did not make"),
        ("something new", "goes on from there"),
    ],
)
def test_each_refusal_has_a_way_out(reason: str, way: str) -> None:
    assert way in hint_for(reason, "team")


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("1 error occurred:\n\t* creating VPC: no\n\n", "creating VPC: no."),
        ("\x1b[31merror: sdk-v2/provider2.go:572: no room!\x1b[0m", "no room!"),
        ("", "the provider gave no reason."),
    ],
)
def test_the_clouds_reason_comes_without_its_wrapping(message: str, told: str) -> None:
    assert sentence(message) == told
