"""What an MLflow server lets strangers do, seen from outside. `inspection` calls each in turn."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx

from trackstack import lock
from trackstack.operations import clocks
from trackstack.operations.advisories import affecting
from trackstack.operations.findings import Finding, bad, ok, untried, warning
from trackstack.operations.visit import SEARCH, VERSION, Visit

FOREIGN_HOSTS = ("foreign.example", "10.evil.example.com")
"""A name that is not the server's, and one that MLflow's default wildcard `10.*` takes."""

_FOREIGN_ORIGIN = "https://foreign.example"
_LEAST_LEFT = timedelta(days=14)
_MOST_SKEW = timedelta(minutes=5)


def tls(visit: Visit) -> Iterator[Finding]:
    """Whether others can listen in, and whether clients can know whom they talk to."""
    shown = visit.shown
    if shown is None:
        if visit.on_loopback:
            yield ok("tls", "It is on this computer, so plain HTTP is nobody's to read.")
        else:
            yield bad(
                "tls",
                "It speaks plain HTTP: passwords and data can be read and changed on the way.",
                "Put TLS before it, and send plain HTTP on to it.",
            )
        return
    if shown.distrust:
        yield bad(
            "certificate",
            f"This computer does not trust its certificate: {shown.distrust}.",
            "Install one from an authority that clients trust, or give them the server's own "
            "authority: here as `--ca FILE`, for MLflow as MLFLOW_TRACKING_SERVER_CERT_PATH.",
        )
    if shown.protocol in ("SSLv3", "TLSv1", "TLSv1.1"):
        yield bad(
            "tls", f"It agrees to {shown.protocol}, which is broken.", "Allow TLS 1.2 and 1.3 only."
        )
    elif shown.protocol:
        yield ok("tls", f"It speaks {shown.protocol}.")
    yield from certificate_life(shown.until, datetime.now(UTC))


def certificate_life(until: datetime | None, now: datetime) -> Iterator[Finding]:
    """How long a certificate still holds."""
    if until is None:
        return
    left = until - now
    told = f"Its certificate runs out on {until:%Y-%m-%d}"
    if left < timedelta(0):
        yield bad("expiry", f"Its certificate ran out on {until:%Y-%m-%d}.", "Renew it.")
    elif left < _LEAST_LEFT:
        yield warning(
            "expiry", f"{told}, in {left.days} days.", "Renew it, and see why nothing does."
        )
    else:
        yield ok("expiry", f"{told}.")


def entrance(search: httpx.Response, is_open: bool) -> Finding:
    """Whether a stranger reads experiments."""
    if is_open:
        return bad(
            "entrance",
            "It is open: anybody who can reach it reads and changes everything, without a login.",
            "Put a login before it, as `trackstack deploy` does, and close its port to others.",
        )
    status = search.status_code
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN) or search.is_redirect:
        return ok("entrance", f"A stranger is refused ({status}).")
    return warning(
        "entrance",
        f"{SEARCH} answers {status}, which neither MLflow nor a login before it would.",
        "Check that the address is the server's, with the path MLflow is served under.",
    )


def login(answer: httpx.Response) -> Finding:
    """Whether the login reads them."""
    if answer.is_success:
        return ok("login", "The login can read.")
    return bad(
        "login",
        f"The login is refused ({answer.status_code}).",
        "Check name and password; what needs a login was not tried.",
    )


def hosts(visit: Visit, page: httpx.Response) -> Finding:
    """Whether it answers to names that are not its own."""
    known = visit.login_sent and page is not visit.front
    statuses = {
        host: visit.ask("GET", "/", known=known, headers={"Host": host}).status_code
        for host in FOREIGN_HOSTS
    }
    taken = [host for host, status in statuses.items() if status == page.status_code]
    way = (
        "Tell MLflow its names with `--allowed-hosts name,name:port`, or have the proxy refuse "
        "other names."
    )
    if len(taken) == len(FOREIGN_HOSTS) and not page.is_success:
        return untried("hosts", "Any Host is asked for a login; more is seen with a login only.")
    if len(taken) == len(FOREIGN_HOSTS):
        return bad(
            "hosts",
            "It answers to any Host, so a web page can reach it through its visitors' browsers "
            "(DNS rebinding).",
            way,
        )
    if taken:
        return bad(
            "hosts",
            f"It answers to the Host {taken[0]}: a wildcard takes names that anybody can register.",
            way,
        )
    told = ", ".join(sorted({str(status) for status in statuses.values()}))
    return ok("hosts", f"A foreign Host is refused ({told}).")


def cross_origin(visit: Visit, enters: bool) -> Finding:
    """Whether a foreign web page may use it through its visitors' browsers."""
    origin = {"Origin": _FOREIGN_ORIGIN}
    asked = {**origin, "Access-Control-Request-Method": "POST"}
    answers = [visit.ask("OPTIONS", SEARCH, headers=asked)]
    answers.append(visit.ask("POST", SEARCH, known=True, headers=origin))
    allowed = [answer.headers.get("access-control-allow-origin") for answer in answers]
    with_login = any(
        origin == _FOREIGN_ORIGIN
        and answer.headers.get("access-control-allow-credentials", "").lower() == "true"
        for origin, answer in zip(allowed, answers, strict=True)
    )
    way = "Name the pages that may call it: `--cors-allowed-origins https://name`; never '*'."
    if with_login:
        return bad(
            "cross-origin",
            "It lets any web page call it with the visitor's login.",
            way,
        )
    if _FOREIGN_ORIGIN in allowed or "*" in allowed:
        return bad("cross-origin", "It lets any web page call it and read the answer.", way)
    if enters and answers[1].is_success:
        return warning(
            "cross-origin",
            "It carries out what a foreign web page sends, though the page cannot read the answer.",
            "MLflow from 3.5 on refuses that by itself; upgrade, or have the proxy check Origin.",
        )
    return ok("cross-origin", "A foreign web page may not call it.")


def version(visit: Visit, is_open: bool, enters: bool) -> Iterator[Finding]:
    """Which MLflow it is, what is published against that, and whom it tells."""
    answer = visit.ask("GET", VERSION)
    told_to_all = answer.is_success
    if not told_to_all and enters and not is_open:
        answer = visit.ask("GET", VERSION, known=True)
    version = answer.text.strip()
    if not answer.is_success or not re.fullmatch(r"[0-9]+(\.[0-9]+)+[a-z0-9.]*", version):
        yield untried("version", "It does not say which MLflow it is.")
        return
    yield known_holes(version)
    if told_to_all and not is_open:
        yield warning(
            "version-told",
            f"It tells strangers that it is MLflow {version}.",
            "Have the login cover /version too.",
        )


def known_holes(version: str) -> Finding:
    """What is published against a version of MLflow, as far as this kit knows."""
    found = affecting(version) or []
    newer = f"Upgrade to MLflow {lock.DEFAULT_MLFLOW} or newer."
    if found:
        named = ", ".join(dict.fromkeys(row.id for row in found))
        return bad(
            "version",
            f"MLflow {version} has published holes ({named}); by the newest somebody can "
            f"{found[0].allows}.",
            f"{newer} See {found[0].source}",
        )
    return ok("version", f"MLflow {version} has no published hole that this kit knows of.")


def server_told(front: httpx.Response) -> Finding:
    """Whether it tells what it runs on."""
    told = front.headers.get("server", "")
    if re.search(r"/[0-9]", told):
        return warning(
            "server-told",
            f"It tells strangers what it runs on: {told}.",
            "In nginx: `server_tokens off;`.",
        )
    if "uvicorn" in told:
        return warning(
            "server-told",
            "It tells strangers that nothing stands before MLflow's own server (uvicorn).",
            "Put a proxy with TLS and a login before it, or start it with "
            '`--uvicorn-opts "--no-server-header"`.',
        )
    return ok("server-told", "It does not tell versions of what it runs on.")


def methods(visit: Visit) -> Finding:
    """Whether it answers a method that serves nobody but attackers."""
    answer = visit.ask("TRACE", "/")
    if answer.is_success and "TRACE" in answer.text:
        return warning(
            "methods",
            "It answers TRACE and so repeats what a browser sent, logins too.",
            "Refuse TRACE in the proxy.",
        )
    return ok("methods", f"TRACE is refused ({answer.status_code}).")


def clock(front: httpx.Response) -> Iterator[Finding]:
    """Whether its clock is right, if this computer's is."""
    skew = clocks.ahead(front)
    if skew is not None and abs(skew) > _MOST_SKEW:
        yield warning(
            "clock",
            f"Its clock is {clocks.told(skew)} this computer's.",
            "Have both set by NTP: times of runs and of certificates depend on it.",
        )
