"""The buckets: one for artifacts, one for desired and observed state."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_gcp import storage

from stacks.gcp import identity
from stacks.gcp.identity import Machine
from stacks.gcp.place import Place

UPLOAD_DAYS = 7
"""When the parts of an upload that was never finished are removed."""

REPORT_DAYS = 1
"""How long the versions of a machine's report are kept: a new one comes every minute."""


@dataclass(frozen=True)
class Buckets:
    """The names of both.

    Attributes:
        ready: what lets the machine use them.
    """

    control: pulumi.Output[str]
    artifacts: pulumi.Output[str]
    ready: Sequence[pulumi.Resource]


def declare(place: Place, machine: Machine) -> Buckets:
    """The control bucket, and the artifact bucket unless one is given."""
    plan = place.plan
    days = plan.old_versions_days
    # audit/ has no rule: nothing of it is ever removed.
    rules = [_old_versions(days, "desired/"), _old_versions(REPORT_DAYS, "observed/")]
    control = _bucket(place, "control", plan.control_bucket, rules).name
    if plan.given.artifact_bucket:
        artifacts = pulumi.Output.from_input(plan.artifact_bucket)
    else:
        rules = [_old_versions(days), _unfinished_uploads()]
        artifacts = _bucket(place, "artifacts", plan.artifact_bucket, rules).name
    roles = identity.bucket_roles(place, machine, control, artifacts)
    return Buckets(control, artifacts, roles)


def _bucket(
    place: Place, name: str, bucket_name: str, rules: Sequence[storage.BucketLifecycleRuleArgs]
) -> storage.Bucket:
    """A versioned bucket that nobody can open to the public."""
    plan = place.plan
    key = plan.given.key
    return storage.Bucket(
        name,
        name=bucket_name,
        location=plan.region,
        uniform_bucket_level_access=True,
        public_access_prevention="enforced",
        versioning=storage.BucketVersioningArgs(enabled=True),
        lifecycle_rules=rules,
        encryption=storage.BucketEncryptionArgs(default_kms_key_name=key) if key else None,
        force_destroy=False,
        labels=plan.all_labels(name),
        opts=place.kept(),
    )


def _old_versions(days: int, prefix: str | None = None) -> storage.BucketLifecycleRuleArgs:
    """Versions go some days after something newer took their place; the newest stay."""
    return storage.BucketLifecycleRuleArgs(
        action=storage.BucketLifecycleRuleActionArgs(type="Delete"),
        condition=storage.BucketLifecycleRuleConditionArgs(
            days_since_noncurrent_time=days,
            with_state="ARCHIVED",
            matches_prefixes=[prefix] if prefix else None,
        ),
    )


def _unfinished_uploads() -> storage.BucketLifecycleRuleArgs:
    return storage.BucketLifecycleRuleArgs(
        action=storage.BucketLifecycleRuleActionArgs(type="AbortIncompleteMultipartUpload"),
        condition=storage.BucketLifecycleRuleConditionArgs(age=UPLOAD_DAYS),
    )
