"""The rules for names, one set for the spec and for the command line.

Each function takes what a person typed and returns the name, or raises ValueError with a
sentence that says what would be right.
"""

import difflib
import re
from collections.abc import Iterable

_ENVIRONMENT = re.compile(r"[a-z]([a-z0-9-]{0,29}[a-z0-9])?")
_USER = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")

OWN_PREFIX = "trackstack."
"""Users whose names start so are the kit's own and short-lived; no person may take such a name."""


def environment(value: str) -> str:
    """An environment's name: it becomes part of folder, machine and bucket names."""
    if _ENVIRONMENT.fullmatch(value):
        return value
    raise ValueError(
        f"{value!r} is not a name for an environment: use 1 to 31 of the letters a-z, digits "
        "and '-', starting with a letter and not ending with '-', such as 'team-a'"
    )


def user(value: str) -> str:
    """A user's name: lower case, so that file systems that fold case keep users apart."""
    if value.startswith(OWN_PREFIX):
        raise ValueError(
            f"{value!r} is not a name for a user: names that start with {OWN_PREFIX!r} are the "
            "kit's own"
        )
    if _USER.fullmatch(value):
        return value
    fitting = _fitting_user(value)
    example = f"{fitting!r}" if fitting else "'ada', 'ada.l' or 'ada@example.com'"
    raise ValueError(
        f"{value!r} is not a name for a user: use 1 to 64 of the letters a-z, digits and "
        f"'.', '_', '@', '+', '-', starting with a letter or digit, such as {example}"
    )


def user_from_account(account: str) -> str:
    """The user name nearest to an operating-system account's, for the first user's default."""
    return _fitting_user(account) or "admin"


def _fitting_user(value: str) -> str | None:
    folded = re.sub(r"[^a-z0-9._@+-]", "", value.lower()).lstrip("._@+-")[:64]
    return folded if _USER.fullmatch(folded) and not folded.startswith(OWN_PREFIX) else None


def nearest(value: str, known: Iterable[str]) -> str | None:
    """The known name that a person most likely meant, or None when none is near."""
    close = difflib.get_close_matches(value, list(known), n=1)
    return close[0] if close else None
