"""How far a server's clock is from this computer's, by what it writes into its answers."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx

from trackstack.errors import NotProvenError

MOST = timedelta(minutes=15)
"""AWS refuses who is further off; and so long lives the user that verify adds."""

_LIVENESS = "/livez"


def ahead(answer: httpx.Response) -> timedelta | None:
    """By how much the clock of a server is ahead, to a second; None when it does not tell."""
    try:
        # MLflow as it comes sends two.
        there = parsedate_to_datetime(answer.headers.get_list("date")[0])
    except (IndexError, ValueError):
        return None
    return there.replace(tzinfo=UTC) - datetime.now(UTC)


def told(skew: timedelta) -> str:
    """Such as '15 minutes ahead of'."""
    minutes = round(abs(skew).total_seconds() / 60)
    return f"{minutes} minutes {'ahead of' if skew > timedelta(0) else 'behind'}"


def must_agree(server: httpx.Client) -> None:
    """See that a server's clock is good enough for its users and its cloud; fine when it is down.

    Raises:
        NotProvenError: it is further off than MOST.
    """
    try:
        skew = ahead(server.get(_LIVENESS))
    except httpx.HTTPError:
        return
    if skew is not None and abs(skew) > MOST:
        url = str(server.base_url).rstrip("/")
        raise NotProvenError(
            f"The clock of {url} is {told(skew)} this computer's, so users end at a wrong time and "
            "a cloud may refuse its machine.",
            "Have both set by NTP; then run the same command again.",
        )
