"""A control store in a bucket of Google Cloud: writes are compare-and-swap by generation."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import SplitResult

from google.api_core import exceptions
from google.auth import exceptions as auth
from google.cloud import storage

from trackstack.control.base import ConflictError, Stored
from trackstack.control.bucket import BucketStore
from trackstack.errors import MissingError, TrackstackError

_SECONDS = 20


def at(address: SplitResult) -> "GcsStore":
    """The store at an address such as 'gs://bucket'."""
    return GcsStore(address.netloc)


class GcsStore(BucketStore):
    """Keys are objects; a tag is the generation."""

    def __init__(self, bucket: str, client: Any = None) -> None:
        self._name = bucket
        with self._told():
            self._bucket = (client or storage.Client()).bucket(bucket)

    def get_unless(self, key: str, seen: str | None) -> Stored | None:
        """See BucketStore."""
        blob = self._bucket.blob(key)
        condition = {"if_generation_not_match": int(seen)} if seen else {}
        with self._told():
            try:
                data = blob.download_as_bytes(timeout=_SECONDS, **condition)
            except exceptions.NotModified:
                return None
            except exceptions.NotFound as error:
                self._must_be_there(error)
                return None
        return Stored(data, str(blob.generation))

    def modified(self, key: str) -> tuple[datetime, datetime] | None:
        """See BucketStore."""
        with self._told():
            blob = self._bucket.get_blob(key, timeout=_SECONDS)
        # The client hides the answer's own clock; Google's and this computer's are near enough
        # where NTP runs, and doctor looks at the clock.
        return (blob.updated, datetime.now(UTC)) if blob else None

    def list(self, prefix: str) -> list[str]:
        """See BucketStore."""
        with self._told():
            return sorted(
                blob.name for blob in self._bucket.client.list_blobs(self._name, prefix=prefix)
            )

    def _put(self, key: str, data: bytes, expect: str | None) -> str:
        blob = self._bucket.blob(key)
        with self._told():
            try:
                # Zero stands for no object.
                blob.upload_from_string(
                    data, if_generation_match=int(expect or 0), timeout=_SECONDS
                )
            except exceptions.PreconditionFailed as error:
                raise ConflictError(key) from error
        return str(blob.generation)

    def _put_anyway(self, key: str, data: bytes) -> None:
        with self._told():
            self._bucket.blob(key).upload_from_string(data, timeout=_SECONDS)

    def _changed(self, key: str, seen: str | None) -> bool:
        blob = self._bucket.blob(key)
        condition = {"if_generation_not_match": int(seen)} if seen else {}
        with self._told():
            try:
                blob.reload(timeout=_SECONDS, **condition)
            except exceptions.NotModified:
                return False
            except exceptions.NotFound:
                return seen is not None
        return str(blob.generation) != seen

    def _must_be_there(self, error: Exception) -> None:
        if "bucket" in str(error).lower() and "object" not in str(error).lower():
            raise TrackstackError(
                f"There is no bucket {self._name} that these credentials may see.",
                "`trackstack deploy` makes it, and makes it again if it was removed by hand.",
            ) from error

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except auth.DefaultCredentialsError as error:
            raise MissingError(
                "There are no application-default credentials of Google Cloud here.",
                "Sign in with `gcloud auth application-default login`.",
            ) from error
        except (auth.RefreshError, exceptions.Unauthorized) as error:
            raise TrackstackError(
                "The Google Cloud credentials have expired.",
                "Sign in with `gcloud auth application-default login`; the same command goes on.",
            ) from error
        except exceptions.Forbidden as error:
            raise TrackstackError(
                f"These credentials may not do that in the bucket {self._name}.",
                "Ask whoever owns the project; docs/gcp.md lists what each role needs.",
            ) from error
        except (exceptions.GoogleAPIError, auth.TransportError, OSError) as error:
            raise TrackstackError(
                f"Google Cloud does not answer for the bucket {self._name}: "
                f"{type(error).__name__}.",
                "Check the network; the same command then goes on.",
            ) from error
