"""Proves of any server, whoever deployed it, what can be proved by reading."""

from datetime import UTC, datetime
from pathlib import Path

from trackstack.operations.receipt import (
    MissError,
    OnCheck,
    Prover,
    Receipt,
    must_be_known,
    must_hold,
)
from trackstack.operations.strangers import LOCATIONS, foreign_host, refused
from trackstack.operations.users import Login
from trackstack.operations.visit import READ, is_in_clear, server_address
from trackstack.tracking import Tracking, http_client

_READING = ("GET", "HEAD")
# An open liveness path is common, and says no more than that somebody is there.
_PLACES = tuple(path for path in LOCATIONS if path != "/health")
# A redirect leads to a page for logging in.
_REFUSED = frozenset({301, 302, 303, 307, 308, 401, 403})
_SHUT = _REFUSED | {404, 405, 421}
_OTHER_HOST = frozenset({400, 403, 404, 421})


def verify_url(
    url: str,
    login: Login | None = None,
    authorities: Path | None = None,
    quick: bool = False,
    on_check: OnCheck = lambda _: None,
) -> Receipt:
    """Prove that a server shuts strangers out and lets the login in; nothing is written there.

    Args:
        url: its address.
        login: one that opens it; without one, that part is left out.
        authorities: certificates to trust instead of the system's.
        quick: only try one place.
        on_check: told each check as it ends.

    Raises:
        NotProvenError: names each check that did not hold.
        UsageError: that is no address.
    """
    address = server_address(url)
    must_be_known(address)
    prover = Prover(on_check)
    started = datetime.now(UTC)
    with http_client(address, authorities) as stranger:
        prover.check(
            "a stranger reads no experiment",
            lambda: refused(stranger, (READ,), ("GET",), _REFUSED),
        )
        if not quick:
            prover.check(
                "a stranger is refused everywhere",
                lambda: refused(stranger, _PLACES, _READING, _SHUT),
            )
            if login is None:
                # Who is asked for a login first is not told whether the name is right.
                right = _OTHER_HOST | {401}
                prover.check("a foreign Host is refused", lambda: foreign_host(stranger, right))
    if login is not None:
        _prove_login(prover, address, login, authorities, quick)
    receipt = Receipt(
        environment=None, url=address, at=started, quick=quick, checks=tuple(prover.checks)
    )
    must_hold(receipt, f"`trackstack doctor --url {address}` says what to do.")
    return receipt


def _prove_login(
    prover: Prover, url: str, login: Login, authorities: Path | None, quick: bool
) -> None:
    def read() -> str:
        if is_in_clear(url):
            raise MissError("not sent, because plain HTTP would show the password on the way")
        with Tracking(url, login.user, login.password, authorities) as tracking:
            tracking.read()
        return "200"

    if prover.check(f"{login.user} can read", read) and not quick:
        with http_client(url, authorities, (login.user, login.password)) as client:
            prover.check("a foreign Host is refused", lambda: foreign_host(client, _OTHER_HOST))
