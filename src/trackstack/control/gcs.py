"""A control store in a bucket of Google Cloud: writes are compare-and-swap by generation."""

import os
from collections.abc import Callable
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import SplitResult, quote

from google.api_core import exceptions
from google.cloud import storage
from google.cloud.storage.retry import DEFAULT_RETRY

from trackstack.control.base import ConflictError, Stored
from trackstack.control.bucket import BucketStore, UnchangedError, UnsureError
from trackstack.control.gcs_failures import is_of_bucket, told

# Else its client asks for the bucket's own settings too, in the background, also at each miss:
# that costs requests, and a machine may not.
os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")

_TIMEOUT = (5, 20)
"""Seconds for a connection, and for an answer."""
_RETRY = DEFAULT_RETRY.with_timeout(15)
_BEFORE_THE_FIRST = 0
"""The generation of an object that is not there."""


def at(address: SplitResult) -> "GcsStore":
    """The store at an address such as 'gs://bucket'."""
    return GcsStore(address.netloc)


class GcsStore(BucketStore):
    """Keys are objects; a tag is the generation."""

    def __init__(self, bucket: str, client: Any = None) -> None:
        self._name = bucket
        with told(bucket):
            # Objects belong to no project, and finding out which is the caller's may fail.
            self._client = client or storage.Client(project=None)
            self._bucket = self._client.bucket(bucket)

    def get_unless(self, key: str, seen: str | None) -> Stored | None:
        """See BucketStore."""
        blob = self._bucket.blob(key)
        condition = {"if_generation_not_match": int(seen)} if seen else {}
        with told(self._name):
            try:
                data = blob.download_as_bytes(timeout=_TIMEOUT, retry=_RETRY, **condition)
            except exceptions.NotModified as error:
                raise UnchangedError(key) from error
            except exceptions.NotFound as error:
                if is_of_bucket(error):
                    raise
                return None
        return Stored(data, str(blob.generation))

    def modified(self, key: str) -> tuple[datetime, datetime] | None:
        """See BucketStore."""
        # By the client's own session, because its methods hide the answer's Date.
        address = f"{self._client.api_endpoint}/storage/v1/b/{self._name}/o/{quote(key, safe='')}"
        with told(self._name):
            answer = self._client._http.get(address, timeout=_TIMEOUT)
            if not answer.ok:
                refused: Callable[[Any], Exception] = exceptions.from_http_response
                error = refused(answer)
                if isinstance(error, exceptions.NotFound) and not is_of_bucket(error):
                    return None
                raise error
        written = datetime.fromisoformat(answer.json()["updated"])
        return written, parsedate_to_datetime(answer.headers["Date"])

    def list(self, prefix: str) -> list[str]:
        """See BucketStore."""
        with told(self._name):
            found = self._client.list_blobs(
                self._name, prefix=prefix, timeout=_TIMEOUT, retry=_RETRY
            )
            return sorted(blob.name for blob in found)

    def _put(self, key: str, data: bytes, expect: str | None) -> str:
        blob = self._bucket.blob(key)
        match = int(expect) if expect else _BEFORE_THE_FIRST
        tries = 0

        def upload() -> None:
            nonlocal tries
            tries += 1
            blob.upload_from_string(data, if_generation_match=match, timeout=_TIMEOUT, retry=None)

        # Not the client's own repetition, which does not tell that there was one.
        again: Callable[[], None] = _RETRY(upload)
        with told(self._name):
            try:
                again()
            except exceptions.PreconditionFailed as error:
                raise (UnsureError if tries > 1 else ConflictError)(key) from error
        return str(blob.generation)

    def _put_anyway(self, key: str, data: bytes) -> None:
        with told(self._name):
            self._bucket.blob(key).upload_from_string(data, timeout=_TIMEOUT, retry=_RETRY)
