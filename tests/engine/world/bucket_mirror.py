"""Buckets that the program makes, made in moto too, so that clients find them."""

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from engine.cloud import Action, Cloud, Refused, Thing

_SPELLED = {"id": "ID", "sseAlgorithm": "SSEAlgorithm", "kmsMasterKeyId": "KMSMasterKeyID"}
"""Words that the provider and S3 do not write the same but for the first letter."""


def bucket_mirror(cloud: Cloud, s3: Any) -> Callable[[Action, Thing], None]:
    """A listener that does in moto what is done in the cloud.

    Args:
        cloud: whose region the buckets are in.
        s3: a client of moto itself.
    """
    make: dict[str, Callable[[str, dict[str, Any]], object]] = {
        "s3.Bucket": lambda bucket, said: s3.put_bucket_tagging(
            Bucket=bucket,
            Tagging={"TagSet": [{"Key": k, "Value": v} for k, v in said.get("tags", {}).items()]},
        ),
        "s3.BucketVersioning": lambda bucket, said: s3.put_bucket_versioning(
            Bucket=bucket,
            VersioningConfiguration=_spelled(said["versioningConfiguration"]),
        ),
        "s3.BucketPublicAccessBlock": lambda bucket, said: s3.put_public_access_block(
            Bucket=bucket,
            PublicAccessBlockConfiguration=_spelled(_without(said, "bucket")),
        ),
        "s3.BucketServerSideEncryptionConfiguration": (
            lambda bucket, said: s3.put_bucket_encryption(
                Bucket=bucket,
                ServerSideEncryptionConfiguration=_spelled(_without(said, "bucket")),
            )
        ),
        "s3.BucketLifecycleConfiguration": (
            lambda bucket, said: s3.put_bucket_lifecycle_configuration(
                Bucket=bucket, LifecycleConfiguration=_spelled(_without(said, "bucket"))
            )
        ),
    }
    # What is left of a bucket's settings goes with the bucket.
    place = {"CreateBucketConfiguration": {"LocationConstraint": cloud.region}}

    def listen(action: Action, thing: Thing) -> None:
        try:
            if thing.kind == "s3.Bucket" and action == "create":
                s3.create_bucket(Bucket=thing.id, **({} if cloud.region == "us-east-1" else place))
            if thing.kind == "s3.Bucket" and action == "delete":
                s3.delete_bucket(Bucket=thing.id)
            if thing.kind in make and action in {"create", "update"}:
                make[thing.kind](str(thing.inputs["bucket"]), thing.inputs)
        except ClientError as error:
            about = error.response["Error"]
            raise Refused(f"{about['Code']}: {about['Message']}") from error

    return listen


def _without(said: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in said.items() if key != name}


def _spelled(value: Any) -> Any:
    """The provider's words as S3 spells them; what is not said is left out."""
    if isinstance(value, list):
        return [_spelled(each) for each in value]
    if not isinstance(value, dict):
        return int(value) if isinstance(value, float) else value
    return {
        _SPELLED.get(key, key[0].upper() + key[1:]): _spelled(each)
        for key, each in value.items()
        if each is not None
    }
