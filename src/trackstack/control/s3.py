"""A control store in an S3 bucket: writes are compare-and-swap by the object's ETag."""

from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import SplitResult, parse_qs

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from trackstack.control.base import ConflictError, Stored
from trackstack.control.bucket import BucketStore
from trackstack.control.s3_failures import code, told
from trackstack.errors import TrackstackError

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
    return S3Store(address.netloc, said["region"], said.get("owner"))


class S3Store(BucketStore):
    """Keys are objects; a tag is the ETag."""

    def __init__(self, bucket: str, region: str, owner: str | None, client: Any = None) -> None:
        self._bucket = bucket
        self._client = client or boto3.client("s3", region_name=region, config=_CONFIG)
        # A bucket of that name that somebody else made meanwhile is refused.
        self._mine = {"ExpectedBucketOwner": owner} if owner else {}

    def get_unless(self, key: str, seen: str | None) -> Stored | None:
        """See BucketStore."""
        condition = {"IfNoneMatch": seen} if seen else {}
        answer = self._ask("get_object", key, _NO_KEY | _UNCHANGED, **condition)
        return Stored(answer["Body"].read(), answer["ETag"]) if answer else None

    def modified(self, key: str) -> tuple[datetime, datetime] | None:
        """See BucketStore."""
        answer = self._ask("head_object", key, _NO_KEY)
        if answer is None:
            return None
        now = answer["ResponseMetadata"]["HTTPHeaders"]["date"]
        return answer["LastModified"], parsedate_to_datetime(now)

    def list(self, prefix: str) -> list[str]:
        """See BucketStore."""
        with told():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=prefix, **self._mine
            )
            return sorted(each["Key"] for page in pages for each in page.get("Contents", []))

    def _put(self, key: str, data: bytes, expect: str | None) -> str:
        condition = {"IfMatch": expect} if expect else {"IfNoneMatch": "*"}
        # A write over what is gone meanwhile finds no key.
        answer = self._ask("put_object", key, _LOST | _NO_KEY, Body=data, **condition)
        if answer is None:
            raise ConflictError(key)
        return str(answer["ETag"])

    def _put_anyway(self, key: str, data: bytes) -> None:
        self._ask("put_object", key, set(), Body=data)

    def _changed(self, key: str, seen: str | None) -> bool:
        condition = {"IfNoneMatch": seen} if seen else {}
        with told():
            try:
                self._client.head_object(Bucket=self._bucket, Key=key, **self._mine, **condition)
            except ClientError as error:
                if code(error) in _UNCHANGED:
                    return False
                if code(error) in _NO_KEY:
                    return seen is not None
                raise
        return True

    def _ask(self, action: str, key: str, none: set[str], **more: Any) -> Mapping[str, Any] | None:
        """Do something with an object; None where the answer is one of those named so."""
        with told():
            try:
                answer: Mapping[str, Any] = getattr(self._client, action)(
                    Bucket=self._bucket, Key=key, **self._mine, **more
                )
            except ClientError as error:
                if code(error) == "NoSuchBucket":
                    raise TrackstackError(
                        f"There is no bucket {self._bucket} that these credentials may see.",
                        "`trackstack deploy` makes it, and again if it was removed by hand.",
                    ) from error
                if code(error) in none:
                    return None
                raise
        return answer
