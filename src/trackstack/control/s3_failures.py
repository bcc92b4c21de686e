"""What AWS's own client says when something fails, as the kit's errors: each with the way out."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore import exceptions as aws

from trackstack.control.base import AwayError, NoBucketError
from trackstack.errors import MissingError, TrackstackError, UsageError

_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
_UNKNOWN = {
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_DENIED = {"403", "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthFailure"}
_BUSY = {"Throttling", "ThrottlingException", "RequestLimitExceeded", "SlowDown", "503"}
_ELSEWHERE = {
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "PermanentRedirect",
}

_AGAIN = "Run the same command again; https://health.aws.amazon.com says what AWS knows of."
_SIGNED_OUT = (aws.UnauthorizedSSOTokenError, aws.SSOTokenLoadError, aws.TokenRetrievalError)
_WITHOUT_ANSWER: tuple[tuple[tuple[type[Exception], ...], type[TrackstackError], str, str], ...] = (
    (
        (aws.NoCredentialsError, aws.PartialCredentialsError),
        MissingError,
        "There are no AWS credentials in this shell.",
        "Sign in with `aws configure sso` or `aws configure`, or name one that has them with "
        "`--profile`.",
    ),
    (
        (aws.CredentialRetrievalError, aws.MetadataRetrievalError),
        TrackstackError,
        "The program or service that hands out AWS credentials here did not.",
        "Try `aws sts get-caller-identity`, which asks the same one.",
    ),
    (
        (aws.HTTPClientError, aws.ConnectionError),
        AwayError,
        "AWS cannot be reached from here.",
        "Check the network, the proxy and the region.",
    ),
    (
        (aws.NoRegionError,),
        UsageError,
        "No AWS region is known.",
        "Say `--region`, such as eu-central-1.",
    ),
)
"""What fails before AWS answers: kinds of errors, the kit's kind, what to say, the way out."""


@contextmanager
def told(profile: str | None = None) -> Iterator[None]:
    """Raise the kit's own errors for AWS's.

    Args:
        profile: the AWS profile in use, for the way out.
    """
    try:
        yield
    except aws.ClientError as error:
        raise refused(error, profile) from error
    except aws.BotoCoreError as error:
        raise _failed(error, profile) from error


def code(error: aws.ClientError) -> str:
    """AWS's own short name for a refusal, such as 'AccessDenied'."""
    return str(error.response.get("Error", {}).get("Code", ""))


def refused(error: aws.ClientError, profile: str | None = None) -> TrackstackError:
    """The error for an answer in which AWS refuses."""
    said = code(error)
    message = str(error.response.get("Error", {}).get("Message", "")).rstrip(".")
    if said in _EXPIRED:
        return TrackstackError("The AWS credentials have expired.", _sign_in(profile))
    if said in _UNKNOWN:
        return TrackstackError(
            "AWS does not know these credentials.",
            "Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile they come from.",
        )
    if said in _DENIED:
        return TrackstackError(
            f"AWS does not permit {error.operation_name} with these credentials: {message}.",
            "Ask an administrator of the account; docs/aws.md lists what each role needs.",
        )
    if said in _BUSY:
        return TrackstackError(
            "AWS wants fewer requests for now.", "Run the same command again in a minute."
        )
    if said == "RequestTimeTooSkewed":
        return TrackstackError(
            "The clock of this computer is more than 15 minutes wrong, so AWS refuses it.",
            "Set it, as with `timedatectl set-ntp true`.",
        )
    return TrackstackError(f"AWS refused {error.operation_name}: {said} {message}.", _AGAIN)


def refused_for(bucket: str, owner: str | None, error: aws.ClientError) -> TrackstackError | None:
    """The error for a refusal that has to do with a bucket; None for any other.

    Args:
        bucket: its name.
        owner: the account that it has to be of, where the request said so.
        error: the refusal.
    """
    said = code(error)
    if said == "NoSuchBucket":
        return NoBucketError.of(bucket)
    if said in _ELSEWHERE:
        return TrackstackError(
            f"The bucket {bucket} lies in another region.", "Say that region with `--region`."
        )
    if said in _DENIED:
        # AWS says the same of either.
        other = f", or it is not account {owner}'s" if owner else ""
        return TrackstackError(
            f"AWS does not permit {error.operation_name} in the bucket {bucket} with these "
            f"credentials{other}.",
            "Ask an administrator of the account; docs/aws.md lists what each role needs.",
        )
    return None


def _failed(error: aws.BotoCoreError, profile: str | None) -> TrackstackError:
    """The error for what went wrong before AWS answered."""
    if isinstance(error, aws.ProfileNotFound):
        return UsageError(
            f"There is no AWS profile {profile!r} on this computer.",
            "`aws configure list-profiles` shows those there are.",
        )
    if isinstance(error, _SIGNED_OUT):
        return TrackstackError("The single sign-on to AWS has expired.", _sign_in(profile))
    for kinds, make, sentence, hint in _WITHOUT_ANSWER:
        if isinstance(error, kinds):
            return make(sentence, hint)
    return TrackstackError(f"AWS's client failed: {type(error).__name__}.", _AGAIN)


def _sign_in(profile: str | None) -> str:
    named = f" --profile {profile}" if profile else ""
    return f"Sign in again, as with `aws sso login{named}`; the same command then goes on."
