"""What was proved of a server: each check with what it saw, kept as a receipt."""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
from pydantic import AwareDatetime

from trackstack import __version__
from trackstack.desired import Part
from trackstack.errors import NotProvenError, TrackstackError


class Check(Part):
    """One thing that was tried.

    Attributes:
        tried: what, in a few words.
        seen: what came of it.
        milliseconds: how long it took.
    """

    tried: str
    held: bool
    seen: str
    milliseconds: float


class Receipt(Part):
    """What was proved, when, of which server.

    Attributes:
        environment: its name; None for a server that is known by its address only.
        quick: whether only reads were tried.
        from_machine: whether this computer is not let in, so that the machine looked at itself.
    """

    environment: str | None
    url: str
    kit: str = __version__
    at: AwareDatetime
    quick: bool
    from_machine: bool = False
    checks: tuple[Check, ...]

    @property
    def proven(self) -> bool:
        """Whether every check held."""
        return all(check.held for check in self.checks)


OnCheck = Callable[[Check], None]


class MissError(Exception):
    """A check did not hold; the text says what was seen."""


@dataclass
class Prover:
    """Runs checks and keeps what each saw."""

    on_check: OnCheck
    checks: list[Check] = field(default_factory=list)

    def check(self, tried: str, attempt: Callable[[], str]) -> bool:
        """Run one check; returns whether it held."""
        started = time.monotonic()
        try:
            held, seen = True, attempt()
        except MissError as miss:
            held, seen = False, str(miss)
        except TrackstackError as error:
            held, seen = False, error.sentence
        except httpx.HTTPError as error:
            held, seen = False, f"no answer: {error or type(error).__name__}"
        milliseconds = round((time.monotonic() - started) * 1000, 1)
        result = Check(tried=tried, held=held, seen=seen, milliseconds=milliseconds)
        self.checks.append(result)
        self.on_check(result)
        return held


def must_hold(receipt: Receipt, hint: str) -> None:
    """Raise NotProvenError, with a hint, that names each check that did not hold."""
    if not receipt.proven:
        missed = "; ".join(f"{c.tried}: {c.seen}" for c in receipt.checks if not c.held)
        raise NotProvenError(f"{receipt.url} is not proven. {missed}", hint)


def must_be_known(url: str) -> None:
    """Raise NotProvenError when this computer cannot find the server's name."""
    host = httpx.URL(url).host
    try:
        socket.getaddrinfo(host, None)
    except OSError as error:
        raise NotProvenError(
            f"{host} is a name that this computer does not know, so {url} cannot be tried.",
            "Enter the name in your DNS or in /etc/hosts, then run `trackstack verify`.",
        ) from error
