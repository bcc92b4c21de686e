"""What the engine says when it fails, as the kit's own errors: pure functions over its text."""

import re
from collections.abc import Sequence
from typing import Self

from pydantic import BaseModel, ConfigDict

from trackstack.errors import BusyError, MissingError, TrackstackError

_LOCK = re.compile(r"created by (\S+)@(\S+) \(pid (\d+)\) at (\S+)")
_ANSI = re.compile(r"\x1b\[[0-9;]*m|<\{%[^%]*%\}>")

_HINTS = (
    (
        r"ExpiredToken|RequestExpired|token.*expired|InvalidGrantException|invalid_grant",
        "The credentials expired. Sign in again, free the lock that the engine could not take away "
        "with `trackstack unlock -e {name}`, and run the same command: it goes on from there.",
    ),
    (
        r"InsufficientInstanceCapacity|InsufficientDBInstanceCapacity|RESOURCE_POOL_EXHAUSTED",
        "The zone has no room for this machine now. Run the same command later, or choose another "
        "machine type.",
    ),
    (
        # Before the quotas: both clouds end its name on LimitExceeded.
        r"Throttling|RequestLimitExceeded|SlowDown|TooManyRequests|[rR]ateLimitExceeded|Error 429",
        "The cloud wants fewer requests for now. Run the same command in a minute.",
    ),
    (
        r"LimitExceeded|[qQ]uotaExceeded|VcpuLimit|AddressLimit|QUOTA_EXCEEDED",
        "The account's quota is used up. Ask the cloud for more on its page of quotas, then run it "
        "again.",
    ),
    (
        r"AccessDenied|UnauthorizedOperation|AuthFailure|not authorized"
        r"|Required '.*' permission|PERMISSION_DENIED|, forbidden",
        "These credentials may not do that. Ask an administrator, then run it again.",
    ),
    (
        r"DependencyViolation|BucketNotEmpty|[rR]esourceInUse",
        "Something that the kit did not make still uses it, or lies in it.",
    ),
)
"""What a refusal says, and what to do about it in the environment `name`."""

_EARLIER = (
    "Nothing was changed. Put back an earlier version of the object .pulumi/stacks/trackstack/"
    "{name}.json in the state bucket, which keeps old versions; then run the same command again."
)
_SAID = (
    (
        r"incorrect passphrase",
        "The key does not open this environment's state: it was made with another one.",
        "Use the key that the environment was made with.",
    ),
    (r"passphrase must be set", "The engine was given no key to open the state with.", None),
    (r"no stack named .* found", "There is nothing recorded of this environment here.", None),
    (
        r"snapshot integrity|failed to load checkpoint|could not deserialize|invalid character",
        "The engine's record of this environment is damaged.",
        _EARLIER,
    ),
)
"""What the engine says of its own troubles, with the kit's sentence and the way out."""

_AGAIN = "What was made before stays and is recorded; the same command goes on from there."


class FailedResource(BaseModel):
    """A resource that the cloud refused.

    Attributes:
        name: the program's, such as 'machine'.
        type: such as 'aws:ec2/instance:Instance'.
        reason: the cloud's own first sentence.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    type: str
    reason: str


class HeldError(BusyError):
    """Another run holds the stack's lock.

    Attributes:
        who: the account.
        host: the computer.
        pid: the process on it.
        since: as the engine wrote it, RFC 3339.
    """

    who: str
    host: str
    pid: int
    since: str

    @classmethod
    def by(cls, name: str, who: str, host: str, pid: int, since: str) -> Self:
        """The error that names the holder of the environment `name`."""
        error = cls(
            f"{who} on {host} is changing this environment since {since} (process {pid}).",
            f"Wait until that is done; `trackstack unlock -e {name}` frees the lock of one that is "
            "gone.",
        )
        error.who, error.host, error.pid, error.since = who, host, pid, since
        return error


class CancelledError(TrackstackError):
    """The run was stopped from here before its end."""

    exit_code = 130


class ResourceError(TrackstackError):
    """The cloud refused one resource, or several.

    Attributes:
        failed: each of them, in the order they failed.
    """

    failed: tuple[FailedResource, ...]

    @classmethod
    def of(cls, name: str, failed: Sequence[FailedResource]) -> Self:
        """The error that tells the first, of those of the environment `name`, and counts others."""
        first = failed[0]
        others = f" ({len(failed) - 1} more failed)" if len(failed) > 1 else ""
        error = cls(
            f"{first.name} ({first.type.split(':')[-1]}) failed: {first.reason}{others}",
            hint_for(first.reason, name),
        )
        error.failed = tuple(failed)
        return error


def hint_for(reason: str, name: str) -> str:
    """What to do about a refusal in the environment `name`."""
    found = next((hint for said, hint in _HINTS if re.search(said, reason)), _AGAIN)
    return found.format(name=name)


def too_old(found: str, needed: str) -> MissingError:
    """The engine is there, and not new enough."""
    return MissingError(
        f"The pulumi program is version {found}; {needed} or newer is needed.",
        "https://www.pulumi.com/docs/install/ says how to update it.",
    )


def missing() -> MissingError:
    """There is no engine."""
    return MissingError(
        "The pulumi program is missing on this computer.",
        "https://www.pulumi.com/docs/install/ says how to install it.",
    )


def foreign(stack: str, other: str) -> TrackstackError:
    """The state is another environment's."""
    return TrackstackError(
        f"The engine's record in the place of environment {stack!r} is of environment {other!r}.",
        _EARLIER.format(name=stack),
    )


def emptied(stack: str) -> TrackstackError:
    """The state lost all that was in it."""
    return TrackstackError(
        f"The engine's record of environment {stack!r} is empty, although it was made.",
        _EARLIER.format(name=stack),
    )


def not_installed(version: str) -> MissingError:
    """The engine could not be downloaded."""
    return MissingError(
        f"Pulumi {version} could not be downloaded.",
        "Check the network and the proxy, or install it by hand: "
        "https://www.pulumi.com/docs/install/",
    )


def sentence(message: str) -> str:
    """The cloud's own reason in what a provider reports: one line, without the wrapping."""
    lines = [line.strip(" *\t") for line in _ANSI.sub("", message).splitlines()]
    lines = [line for line in lines if line and not re.match(r"\d+ errors? occurred:", line)]
    text = lines[0] if lines else "the provider gave no reason"
    text = re.sub(r"^(error: )?(sdk-v2/provider2\.go:\d+: )?", "", text)
    return text if text.endswith((".", "!")) else text + "."


def stopped() -> CancelledError:
    """The run was stopped from here."""
    return CancelledError("Stopped before the end.", _AGAIN)


def translated(
    output: str, name: str, failed: Sequence[FailedResource], *, cancelled: bool
) -> TrackstackError:
    """The error to raise for an engine that ended badly.

    Args:
        output: what it wrote; nothing of it is shown as it stands unless nothing else is known.
        name: of the environment.
        failed: the resources that its events told failed.
        cancelled: whether it was told to stop from here.
    """
    lock = _LOCK.search(output)
    if "currently locked by" in output and lock:
        return HeldError.by(name, lock[1], lock[2], int(lock[3]), lock[4])
    if cancelled or re.search(r"update canceled|update cancelled|operation canceled", output):
        return stopped()
    if failed:
        return ResourceError.of(name, failed)
    for said, problem, hint in _SAID:
        if re.search(said, output):
            return TrackstackError(problem, hint and hint.format(name=name))
    lines = [line for line in _ANSI.sub("", output).splitlines() if "error:" in line]
    last = lines[-1].split("error:", 1)[1].strip() if lines else "it gave no reason"
    return TrackstackError(f"The engine failed: {sentence(last)}")
