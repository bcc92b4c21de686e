"""What goes wrong with a model: how it is told, and when it is tried again."""

import re
from dataclasses import dataclass

from trackstack.agent.machine import StepError
from trackstack.errors import printable

_FIRST_PAUSE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 600.0


@dataclass
class Trouble:
    """What went wrong with one version, and when it is tried again."""

    of: str
    reason: str
    times: int
    again_at: float


def after(before: Trouble | None, of: str, reason: str, now: float) -> Trouble:
    """One more trouble: the pause before the next try doubles each time, up to ten minutes.

    Args:
        before: the last one of that version, or None.
        of: the version's service.
        reason: what went wrong.
        now: seconds of a clock that only goes on.
    """
    times = before.times + 1 if before else 1
    pause = min(_FIRST_PAUSE_SECONDS * 2 ** (times - 1), _LONGEST_PAUSE_SECONDS)
    return Trouble(of, reason, times, now + pause)


def is_long_ago(trouble: Trouble, now: float) -> bool:
    """Whether a trouble has not come back in so long that another one is a first one again."""
    return now > trouble.again_at + _LONGEST_PAUSE_SECONDS


def told_by(error: Exception) -> str:
    """What failed, in a line: for a step its sentence and the last that its program said.

    A model's own code may have written any of it, and a terminal may show it.
    """
    return printable(" ".join(_told_by(error).split()))


def _told_by(error: Exception) -> str:
    if isinstance(error, StepError):
        # uv draws lines beside its words.
        said = " ".join(re.sub(r"[│╰─▶×]", " ", error.output).split())  # noqa: RUF001
        return f"{error.problem}: {said[-400:]}" if said else error.problem
    if isinstance(error, OSError):
        return f"{error.strerror or error}: {error.filename or 'no file named'}"
    return f"{type(error).__name__}: {error}"
