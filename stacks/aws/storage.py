"""The buckets: one for artifacts, one for desired and observed state."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import s3

from stacks.aws.place import Place
from trackstack.templating import render

UPLOAD_DAYS = 7
"""When the parts of an upload that was never finished are removed."""

REPORT_DAYS = 1
"""How long the versions of a machine's report are kept: a new one comes every minute."""


@dataclass(frozen=True)
class Buckets:
    """The names of both, known once they are closed to the public.

    Attributes:
        ready: what makes them safe to write to.
    """

    control: pulumi.Output[str]
    artifacts: pulumi.Output[str]
    ready: Sequence[pulumi.Resource]


def declare(place: Place) -> Buckets:
    """The control bucket, and the artifact bucket unless one is given."""
    plan = place.plan
    days = plan.old_versions_days
    # audit/ has no rule: nothing of it is ever removed.
    control, guards = _bucket(
        place,
        "control",
        plan.control_bucket,
        [
            _old_versions("desired", "desired/", days),
            _old_versions("observed", "observed/", REPORT_DAYS),
        ],
    )
    if plan.given.artifact_bucket:
        return Buckets(control, pulumi.Output.from_input(plan.artifact_bucket), guards)
    artifacts, more = _bucket(
        place,
        "artifacts",
        plan.artifact_bucket,
        [_old_versions("versions", "", days), _unfinished_uploads()],
    )
    return Buckets(control, artifacts, [*guards, *more])


def _bucket(
    place: Place,
    name: str,
    bucket_name: str,
    rules: Sequence[s3.BucketLifecycleConfigurationRuleArgs],
) -> tuple[pulumi.Output[str], list[pulumi.Resource]]:
    """An encrypted, versioned bucket that is closed to the public and to plain HTTP."""
    plan = place.plan
    bucket = s3.Bucket(
        name,
        bucket=bucket_name,
        force_destroy=False,
        tags=plan.all_tags(name),
        opts=place.kept(),
    )
    closed = s3.BucketPublicAccessBlock(
        f"{name}-closed",
        bucket=bucket.id,
        block_public_acls=True,
        block_public_policy=True,
        ignore_public_acls=True,
        restrict_public_buckets=True,
        opts=place.kept(),
    )
    encryption = s3.BucketServerSideEncryptionConfiguration(
        f"{name}-encryption",
        bucket=bucket.id,
        rules=[
            s3.BucketServerSideEncryptionConfigurationRuleArgs(
                apply_server_side_encryption_by_default=_encryption(place),
                # One request to the key for many objects.
                bucket_key_enabled=bool(plan.given.key),
            )
        ],
        opts=place.kept(),
    )
    versioning = s3.BucketVersioning(
        f"{name}-versioning",
        bucket=bucket.id,
        versioning_configuration=s3.BucketVersioningVersioningConfigurationArgs(status="Enabled"),
        opts=place.kept(),
    )
    policy = s3.BucketPolicy(
        f"{name}-policy",
        bucket=bucket.id,
        policy=render(
            "policies/aws-bucket.json.j2", {"partition": plan.partition, "bucket": bucket_name}
        ),
        # AWS works on one of a bucket's access settings at a time, and refuses a second.
        opts=place.kept(depends_on=[closed]),
    )
    lifecycle = s3.BucketLifecycleConfiguration(
        f"{name}-lifecycle",
        bucket=bucket.id,
        rules=rules,
        # A rule for old versions means nothing before there are versions.
        opts=place.kept(depends_on=[versioning]),
    )
    return bucket.bucket, [encryption, policy, versioning, lifecycle]


def _encryption(
    place: Place,
) -> s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs:
    key = place.plan.given.key
    return s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
        sse_algorithm="aws:kms" if key else "AES256", kms_master_key_id=key
    )


def _old_versions(name: str, prefix: str, days: int) -> s3.BucketLifecycleConfigurationRuleArgs:
    """Versions go some days after something newer took their place; the newest stay."""
    return s3.BucketLifecycleConfigurationRuleArgs(
        id=name,
        status="Enabled",
        filter=s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=prefix),
        noncurrent_version_expiration=s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(
            noncurrent_days=days
        ),
    )


def _unfinished_uploads() -> s3.BucketLifecycleConfigurationRuleArgs:
    return s3.BucketLifecycleConfigurationRuleArgs(
        id="uploads",
        status="Enabled",
        filter=s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=""),
        abort_incomplete_multipart_upload=s3.BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(
            days_after_initiation=UPLOAD_DAYS
        ),
    )
