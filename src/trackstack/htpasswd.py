"""Reads an existing password file, with hashes as nginx accepts them."""

import re
from dataclasses import dataclass

from trackstack import names
from trackstack.errors import UsageError

_KINDS: tuple[tuple[str, str | None], ...] = (
    (r"\{SSHA\}([A-Za-z0-9+/]{4}){7,50}([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", None),
    (r"\{SHA\}[A-Za-z0-9+/=]{28}", "unsalted SHA-1: found in seconds once the file is lost"),
    (r"\{PLAIN\}[!-9;-~]{1,200}", "the password itself, readable by whoever sees the file"),
    (
        r"\$apr1\$[./A-Za-z0-9]{1,8}\$[./A-Za-z0-9]{22}",
        "MD5: quickly guessed once the file is lost",
    ),
    (r"\$1\$[./A-Za-z0-9]{1,8}\$[./A-Za-z0-9]{22}", "MD5: quickly guessed once the file is lost"),
    (r"\$5\$(rounds=[0-9]{1,4}\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{43}", None),
    (r"\$6\$(rounds=[0-9]{1,4}\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{86}", None),
    (
        r"\$[56]\$rounds=[0-9]{5,9}\$[./A-Za-z0-9]{1,16}\$([./A-Za-z0-9]{43}){1,2}",
        "slow: nginx computes it on every request",
    ),
    (r"\$2[aby]\$0[4-7]\$[./A-Za-z0-9]{53}", None),
    (
        r"\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}",
        "slow: nginx computes it on every request, 0.2 s of processor time with 12 rounds",
    ),
    (
        r"\$y\$[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{1,86}\$[./A-Za-z0-9]{43}",
        "slow: nginx computes it on every request",
    ),
    (r"[./A-Za-z0-9]{13}", "DES: only eight characters of the password count"),
)
"""The kinds of hashes that nginx reads, and what is wrong with each; figures: measured."""


@dataclass(frozen=True)
class Entry:
    """One user of a password file.

    Attributes:
        warning: what is wrong with the kind of hash, or None.
    """

    user: str
    hash: str
    warning: str | None


def parse(text: str) -> list[Entry]:
    """Read a password file.

    Raises:
        UsageError: names the line and what is wrong with it; never shows a hash.
    """
    entries: dict[str, Entry] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, rest = line.partition(":")
        hashed = rest.partition(":")[0].rstrip()
        if not colon:
            raise UsageError(f"Line {number} is not of the form name:hash.")
        try:
            user = names.user(name)
        except ValueError as error:
            raise UsageError(f"Line {number}: {error}.") from error
        if user in entries:
            raise UsageError(f"Line {number}: {user!r} stands there twice.")
        entries[user] = Entry(user, hashed, _warning(number, user, hashed))
    if not entries:
        raise UsageError("The file holds no user.")
    return list(entries.values())


def _warning(number: int, user: str, hashed: str) -> str | None:
    for pattern, warning in _KINDS:
        if re.fullmatch(pattern, hashed):
            return warning
    raise UsageError(
        f"Line {number}: nginx does not read the kind of hash that {user!r} has.",
        f"Leave that line out and let {user} in with `trackstack users add {user}`.",
    )
