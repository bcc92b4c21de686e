"""What Google's own storage client says when something fails, as the kit's errors."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from google.api_core import exceptions
from google.auth import exceptions as auth
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

from trackstack.control.base import AwayError, NoBucketError
from trackstack.errors import MissingError, TrackstackError

_SIGN_IN = "Sign in with `gcloud auth application-default login`; the same command then goes on."
_SAID: tuple[tuple[tuple[type[Exception], ...], type[TrackstackError], str, str], ...] = (
    (
        (auth.DefaultCredentialsError,),
        MissingError,
        "There are no application-default credentials of Google Cloud here.",
        _SIGN_IN,
    ),
    (
        (auth.TransportError, OSError),
        AwayError,
        "Google Cloud does not answer for the bucket {bucket}: {kind}.",
        "Check the network and the proxy; the same command then goes on.",
    ),
    (
        (auth.GoogleAuthError, exceptions.Unauthorized),
        TrackstackError,
        "Google Cloud does not take these credentials, or they have expired.",
        _SIGN_IN,
    ),
    (
        (exceptions.Forbidden,),
        TrackstackError,
        "These credentials may not do that in the bucket {bucket}.",
        "Ask whoever owns the project; docs/gcp.md lists what each role needs.",
    ),
    (
        (exceptions.TooManyRequests,),
        TrackstackError,
        "Google Cloud wants fewer requests for the bucket {bucket} for now.",
        "Run the same command again in a minute.",
    ),
)
"""Kinds of errors, the first that fits; the kit's kind, what to say, the way out."""
_FAILURES = (
    exceptions.GoogleAPIError,
    auth.GoogleAuthError,
    DataCorruption,
    InvalidResponse,
    OSError,
)


def is_of_bucket(error: exceptions.NotFound) -> bool:
    """Whether it is the bucket that is not there, not only an object in it."""
    return "bucket does not exist" in str(error)


@contextmanager
def told(bucket: str) -> Iterator[None]:
    """Raise the kit's own errors for those of a request to a bucket."""
    try:
        yield
    except _FAILURES as error:
        raise _told(bucket, error) from error


def _told(bucket: str, error: Exception) -> TrackstackError:
    cause = error.cause if isinstance(error, exceptions.RetryError) else error
    if isinstance(cause, InvalidResponse):  # what an interrupted download or upload ends with
        of_status: Callable[[int, str], Exception] = exceptions.from_http_status
        cause = of_status(cause.response.status_code, "")
    if isinstance(cause, exceptions.NotFound):
        return NoBucketError.of(bucket)
    for kinds, make, sentence, hint in _SAID:
        if isinstance(cause, kinds):
            return make(sentence.format(bucket=bucket, kind=type(cause).__name__), hint)
    return TrackstackError(
        f"Google Cloud could not do it in the bucket {bucket}: {type(cause).__name__}.",
        "Run the same command again; https://status.cloud.google.com says what Google knows of.",
    )
