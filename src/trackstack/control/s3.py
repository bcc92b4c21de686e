"""A control store in an S3 bucket: writes are compare-and-swap by the object's ETag."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import SplitResult, parse_qs

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from trackstack.control.base import ConflictError, Stored
from trackstack.control.bucket import BucketStore, UnchangedError, UnsureError
from trackstack.control.s3_failures import code, refused_for, told
from trackstack.errors import UsageError

_CONFIG = Config(
    connect_timeout=5, read_timeout=20, retries={"max_attempts": 3, "mode": "standard"}
)
_NO_KEY = {"NoSuchKey", "404"}
_UNCHANGED = {"304", "NotModified"}
_LOST = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html"""


def at(address: SplitResult) -> "S3Store":
    """The store at an address such as 's3://bucket?region=eu-central-1&owner=123456789012'."""
    said = {name: values[-1] for name, values in parse_qs(address.query).items()}
    if "region" not in said:
        raise UsageError(
            f"The address s3://{address.netloc} does not say the bucket's region.",
            f"Write s3://{address.netloc}?region=REGION.",
        )
    return S3Store(address.netloc, said["region"], said.get("owner"))


class S3Store(BucketStore):
    """Keys are objects; a tag is the ETag."""

    def __init__(self, bucket: str, region: str, owner: str | None, client: Any = None) -> None:
        self._bucket = bucket
        self._owner = owner
        with told():
            # A session of its own: the common one is not made for threads.
            self._client = client or boto3.session.Session(region_name=region).client(
                "s3", config=_CONFIG
            )
        # A bucket of that name that somebody else made meanwhile is refused.
        self._mine = {"ExpectedBucketOwner": owner} if owner else {}

    def get_unless(self, key: str, seen: str | None) -> Stored | None:
        """See BucketStore."""
        with self._told():
            try:
                answer = self._get(key, **({"IfNoneMatch": seen} if seen else {}))
            except ClientError as error:
                if code(error) in _UNCHANGED:
                    raise UnchangedError(key) from error
                if code(error) in _NO_KEY:
                    return None
                raise
            return Stored(answer["Body"].read(), answer["ETag"])

    def modified(self, key: str) -> tuple[datetime, datetime] | None:
        """See BucketStore."""
        with self._told():
            try:
                answer = self._get(key)
            except ClientError as error:
                if code(error) in _NO_KEY:
                    return None
                raise
            answer["Body"].close()
        now = answer["ResponseMetadata"]["HTTPHeaders"]["date"]
        return answer["LastModified"], parsedate_to_datetime(now)

    def list(self, prefix: str) -> list[str]:
        """See BucketStore."""
        with self._told():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=prefix, **self._mine
            )
            return sorted(each["Key"] for page in pages for each in page.get("Contents", []))

    def _put(self, key: str, data: bytes, expect: str | None) -> str:
        condition = {"IfMatch": expect} if expect else {"IfNoneMatch": "*"}
        with self._told():
            try:
                answer = self._client.put_object(
                    Bucket=self._bucket, Key=key, Body=data, **self._mine, **condition
                )
            except ClientError as error:
                # A write over what is gone meanwhile finds no key.
                if code(error) not in _LOST | _NO_KEY:
                    raise
                again = error.response["ResponseMetadata"].get("RetryAttempts", 0) > 0
                raise (UnsureError if again else ConflictError)(key) from error
        return str(answer["ETag"])

    def _put_anyway(self, key: str, data: bytes) -> None:
        with self._told():
            self._client.put_object(Bucket=self._bucket, Key=key, Body=data, **self._mine)

    def _get(self, key: str, **condition: str) -> Any:
        return self._client.get_object(Bucket=self._bucket, Key=key, **self._mine, **condition)

    @contextmanager
    def _told(self) -> Iterator[None]:
        with told():
            try:
                yield
            except ClientError as error:
                told_of_bucket = refused_for(self._bucket, self._owner, error)
                if told_of_bucket is None:
                    raise
                raise told_of_bucket from error
