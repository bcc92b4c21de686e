"""Times as people type them."""

import re
from datetime import timedelta

from trackstack.errors import UsageError


def duration(text: str) -> timedelta:
    """A time such as 90m, 24h or 7d.

    Raises:
        UsageError: it is none.
    """
    found = re.fullmatch(r"([1-9][0-9]{0,4})([mhd])", text)
    if found is None:
        raise UsageError(f"{text!r} is not a time.", "Say it as in 90m, 24h or 7d.")
    unit = {"m": "minutes", "h": "hours", "d": "days"}[found[2]]
    return timedelta(**{unit: int(found[1])})
