"""The address that this computer has to the rest of the world."""

import ipaddress
import os

import httpx

from trackstack.errors import UsageError

_ASKED = "https://checkip.amazonaws.com"
"""Amazon's, because it answers with nothing else: the caller's address and a newline."""

PLACE = "TRACKSTACK_ADDRESS_URL"
"""The environment variable with another one to ask, such as a company's own."""


def own_network() -> str:
    """The network of one address that this computer comes from.

    Raises:
        UsageError: it cannot be found out.
    """
    url = os.environ.get(PLACE, _ASKED)
    way_out = (
        f"Say it yourself with `--allow NETWORK`, or set {PLACE} to a page that answers with the "
        "caller's address."
    )
    try:
        answer = httpx.get(url, timeout=10, follow_redirects=True)
        address = ipaddress.ip_address(answer.raise_for_status().text.strip())
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise UsageError(
            f"{url} does not say which address this computer comes from.", way_out
        ) from error
    return str(ipaddress.ip_network(address))
