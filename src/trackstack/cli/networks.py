"""Who may connect, as said on the command line."""

import ipaddress
from collections.abc import Callable
from typing import TYPE_CHECKING

from trackstack.cli import console
from trackstack.errors import UsageError

if TYPE_CHECKING:
    from trackstack.spec import Asked

_ANYWHERE = ["0.0.0.0/0", "::/0"]


def networks_said(asked: "Asked", anywhere: bool) -> "Asked":
    """What was asked, with everybody let through where that was said in so many words.

    Raises:
        UsageError: a flag lets everybody through without saying so.
    """
    said = asked.get("allow", [])
    if anywhere:
        if said:
            raise UsageError("--allow-anywhere goes without --allow.", "Say one of them.")
        return {**asked, "allow": _ANYWHERE}
    must_be_bounded(said)
    return asked


def must_be_bounded(networks: list[str]) -> None:
    """Refuse a network that is everybody."""
    for network in networks:
        if ipaddress.ip_network(network).prefixlen == 0:
            raise UsageError(
                f"{network} is everybody.",
                "If you mean that, say `trackstack deploy … --allow-anywhere`.",
            )


def network_of_caller() -> Callable[[], str]:
    """How to find who may connect when nobody was named: at a terminal, its own address."""
    from trackstack.operations.own_address import own_network
    from trackstack.operations.plan import nobody_named

    return own_network if console.at_terminal() else nobody_named
