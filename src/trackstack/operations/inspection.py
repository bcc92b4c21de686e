"""Looks at any MLflow server from outside, whoever deployed it, and says what is wrong with it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from trackstack.operations import inspection_safety as safety
from trackstack.operations import inspection_speed as speed
from trackstack.operations.findings import Diagnosis, Finding, untried
from trackstack.operations.users import Login
from trackstack.operations.visit import SEARCH, Visit, unreachable


def inspect(url: str, login: Login | None = None, authorities: Path | None = None) -> Diagnosis:
    """Look at a server with about 25 requests, of which none changes anything there.

    Args:
        url: its address.
        login: one that opens it; never guessed, and never sent in clear over a network.
        authorities: certificates to trust instead of the system's.

    Raises:
        NotProvenError: nothing answers there.
        UsageError: that is no address.
    """
    with Visit(url, login, authorities) as visit:
        try:
            found = [*_look(visit, login is not None)]
        except httpx.HTTPError as error:
            raise unreachable(visit.url, error) from error
        return Diagnosis(
            findings=tuple(each.model_copy(update={"where": visit.url}) for each in found),
            requests=visit.requests,
        )


def _look(visit: Visit, has_login: bool) -> Iterator[Finding]:
    front = visit.front
    yield from safety.tls(visit)
    if has_login and not visit.login_sent:
        yield untried(
            "login",
            "The login was not sent, because others could read it on the way.",
            "Make TLS work, then look again.",
        )
    search = visit.ask("POST", SEARCH)
    is_open = search.is_success and "json" in search.headers.get("content-type", "")
    yield safety.entrance(search, is_open)
    enters = is_open
    if not is_open and visit.login_sent:
        answer = visit.ask("POST", SEARCH, known=True)
        enters = answer.is_success
        yield safety.login(answer)
    page = front if is_open or not enters else visit.ask("GET", "/", known=True)
    yield from _tried("hosts", lambda: safety.hosts(visit, page))
    yield from _tried("cross-origin", lambda: safety.cross_origin(visit, enters))
    yield from _tried("uploads", lambda: speed.uploads(visit, front))
    yield from _tried("compression", lambda: speed.compression(visit, page, enters))
    yield from _tried("version", lambda: safety.version(visit, is_open, enters))
    yield safety.server_told(front)
    yield from _tried("methods", lambda: safety.methods(visit))
    yield from safety.clock(front)
    yield from _tried("timing", lambda: speed.timing(visit, is_open, enters))


def _tried(about: str, look: Callable[[], Finding | Iterator[Finding]]) -> Iterator[Finding]:
    try:
        found = look()
        yield from (found,) if isinstance(found, Finding) else tuple(found)
    except httpx.HTTPError as error:
        yield untried(
            about, f"A request went unanswered ({type(error).__name__}), so this is not known."
        )
