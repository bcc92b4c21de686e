"""`doctor --url` and `verify --url` against servers that are good, or bad in one way each."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest

from trackstack import lock
from trackstack.agent.certificates import make_authority, make_leaf
from trackstack.errors import NotProvenError, UsageError
from trackstack.operations import inspection_safety as safety
from trackstack.operations.advisories import ADVISORIES, affecting
from trackstack.operations.findings import Diagnosis, Finding
from trackstack.operations.inspection import inspect
from trackstack.operations.users import Login
from trackstack.operations.verify_url import verify_url
from trackstack.operations.visit import Visit, is_in_clear, is_loopback, server_address
from unit.making import NOON, Called
from unit.standin import SEARCH, Behaviour, Server, serving

ADA = Login(user="ada", password="her password")
MOST_REQUESTS = 25


def levels(diagnosis: Diagnosis) -> dict[str, str]:
    return {finding.about: finding.level for finding in diagnosis.findings}


def found(diagnosis: Diagnosis, about: str) -> Finding:
    return next(finding for finding in diagnosis.findings if finding.about == about)


@pytest.fixture(scope="module")
def good() -> Iterator[Server]:
    with serving(Behaviour()) as server:
        yield server


def test_nothing_is_wrong_with_a_good_server(good: Server) -> None:
    diagnosis = inspect(good.url, ADA)
    wrong = [finding for finding in diagnosis.findings if finding.level != "ok"]
    assert wrong == []
    assert diagnosis.exit_code == 0


@pytest.mark.parametrize(
    ("behaviour", "about", "level"),
    [
        (Behaviour(login=None), "entrance", "bad"),
        (Behaviour(hosts=("10.",)), "hosts", "bad"),
        (Behaviour(hosts=("10.", "foreign.")), "hosts", "bad"),
        (Behaviour(origin="reflect"), "cross-origin", "bad"),
        (Behaviour(origin="*"), "cross-origin", "bad"),
        (Behaviour(origin="ignore"), "cross-origin", "warning"),
        (Behaviour(largest=1 << 20), "uploads", "warning"),
        (Behaviour(packed=False), "compression", "warning"),
        (Behaviour(version="2.9.1"), "version", "bad"),
        (Behaviour(version="<html>"), "version", "untried"),
        (Behaviour(open_paths=("/version",)), "version-told", "warning"),
        (Behaviour(server="nginx/1.22.1"), "server-told", "warning"),
        (Behaviour(server="uvicorn"), "server-told", "warning"),
        (Behaviour(trace=True), "methods", "warning"),
        (Behaviour(clock=-3600), "clock", "warning"),
        (Behaviour(body_seconds=0.044), "stall", "warning"),
        (Behaviour(hash_seconds=0.1), "hashes", "warning"),
        (Behaviour(login=("ada", "another")), "login", "bad"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_with_a_server_is_found_and_nothing_else(
    behaviour: Behaviour, about: str, level: str
) -> None:
    with serving(behaviour) as server:
        diagnosis = inspect(server.url, ADA)
    finding = found(diagnosis, about)
    assert finding.level == level
    assert finding.remedy or level == "untried", f"nothing is said of what to do about {about}"
    others = {other.about for other in diagnosis.findings if other.level in ("warning", "bad")}
    # An open server also carries out what a foreign page sends only if it is told to ignore it.
    assert others - {about} == set()
    assert diagnosis.exit_code == (NotProvenError.exit_code if level == "bad" else 0)


@pytest.mark.parametrize(
    ("largest", "told"), [(1 << 20, "2 MB"), (50 << 20, "100 MB"), (2 << 30, "5120 MB")]
)
def test_the_smallest_upload_that_is_refused_is_told(largest: int, told: str) -> None:
    with serving(Behaviour(largest=largest)) as server:
        sentence = found(inspect(server.url), "uploads").sentence
    assert f"refuses uploads of {told}" in sentence


def test_whether_uploads_are_limited_is_left_open_where_a_login_comes_first() -> None:
    with serving(Behaviour(server="Caddy")) as server:
        assert levels(inspect(server.url))["uploads"] == "untried"


@pytest.mark.parametrize("login", [None, ADA])
@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(),
        Behaviour(login=None, hosts=("10.", "foreign."), origin="ignore", packed=False),
        Behaviour(largest=1 << 20),
    ],
    ids=["good", "open", "limited"],
)
def test_a_look_takes_few_requests_of_which_none_can_change_anything(
    behaviour: Behaviour, login: Login | None
) -> None:
    with serving(behaviour) as server:
        diagnosis = inspect(server.url, login)
    assert diagnosis.requests == len(server.seen) <= MOST_REQUESTS
    posts = {path for method, path, _ in server.seen if method == "POST"}
    others = {method for method, _, _ in server.seen} - {"POST"}
    announced = "/api/2.0/mlflow-artifacts/artifacts/trackstack-doctor"
    assert posts <= {SEARCH, announced}
    assert others <= {"GET", "HEAD", "OPTIONS", "TRACE"}
    assert server.bodies[announced] == 0, "bytes of an upload were sent"


def test_no_login_is_tried_but_the_given_one(good: Server) -> None:
    good.seen.clear()
    inspect(good.url)
    assert {name for _, _, name in good.seen} == {None}
    inspect(good.url, ADA)
    assert {name for _, _, name in good.seen} == {None, "ada"}


def test_what_needs_a_login_is_left_out_without_one(good: Server) -> None:
    seen = levels(inspect(good.url))
    untried = {about for about, level in seen.items() if level == "untried"}
    assert untried == {"compression", "version", "stall", "hashes"}


def test_a_request_that_may_change_something_is_not_sent(good: Server) -> None:
    with Visit(good.url, None, None) as visit:
        for method, path in (("POST", "/"), ("DELETE", SEARCH), ("PUT", SEARCH), ("PATCH", "/")):
            with pytest.raises(AssertionError):
                visit.ask(method, path)
    assert not {"DELETE", "PUT", "PATCH"} & {method for method, _, _ in good.seen}


def test_a_server_is_followed_to_tls_on_its_own_name_only(good: Server) -> None:
    with serving(Behaviour(sends_to=good.url)) as server:
        assert inspect(server.url).findings[0].where == good.url
    with serving(Behaviour(sends_to="https://login.invalid")) as server:
        diagnosis = inspect(server.url)
    assert diagnosis.findings[0].where == server.url
    assert levels(diagnosis)["entrance"] == "ok", "a page for logging in is no open door"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An authority for 127.0.0.1, and a leaf with its key."""
    folder = tmp_path_factory.mktemp("tls")
    made = make_authority("127.0.0.1", datetime.now(UTC))
    leaf = make_leaf(made, "127.0.0.1", datetime.now(UTC))
    (folder / "ca.pem").write_bytes(made.certificate)
    (folder / "leaf.pem").write_bytes(leaf.certificate + leaf.key)
    return folder / "ca.pem", folder / "leaf.pem"


def test_a_certificate_is_good_when_its_authority_is_trusted(
    authority: tuple[Path, Path],
) -> None:
    trusted, leaf = authority
    with serving(Behaviour(), leaf) as server:
        diagnosis = inspect(server.url, ADA, trusted)
    seen = levels(diagnosis)
    assert (seen["tls"], seen["expiry"], seen["login"]) == ("ok", "ok", "ok")
    assert diagnosis.exit_code == 0


def test_a_login_is_not_shown_to_a_server_that_nobody_vouches_for(
    authority: tuple[Path, Path],
) -> None:
    with serving(Behaviour(), authority[1]) as server:
        diagnosis = inspect(server.url, ADA)
    seen = levels(diagnosis)
    assert (seen["certificate"], seen["login"]) == ("bad", "untried")
    assert seen["entrance"] == "ok", "what needs no trust is still looked at"
    assert {name for _, _, name in server.seen} == {None}


@pytest.mark.parametrize(("left", "level"), [(-1, "bad"), (13, "warning"), (30, "ok")])
def test_a_certificate_is_renewed_in_time(left: int, level: str) -> None:
    life = list(safety.certificate_life(NOON + timedelta(days=left), NOON))
    assert [finding.level for finding in life] == [level]


@pytest.mark.parametrize(
    ("url", "in_clear"),
    [
        ("http://192.0.2.1:5000", True),
        ("http://mlflow.example.com", True),
        ("https://mlflow.example.com", False),
        ("http://localhost:5000", False),
        ("http://127.8.0.1", False),
        ("http://[::1]:5000", False),
        ("http://localhost.example.com", True),
    ],
)
def test_plain_http_is_in_clear_wherever_a_network_lies_between(url: str, in_clear: bool) -> None:
    assert is_in_clear(url) is in_clear


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]", "localhost"])
def test_loopback_is_this_computer(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "mlflow.example.com",
        "localhost:5000",
        "ftp://a",
        "http://",
        "http://a:b",
        "http://a:0x1",
    ],
)
def test_what_is_no_address_is_refused(typed: str) -> None:
    with pytest.raises(UsageError, match="is not the address of a server"):
        server_address(typed)


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError) as refused:
        server_address("https://ada:topsecret@mlflow.example.com")
    assert "topsecret" not in refused.value.sentence + str(refused.value.hint)


def test_an_address_keeps_its_path() -> None:
    assert server_address("https://a.example/mlflow/") == "https://a.example/mlflow"


def test_where_nobody_answers_is_told_in_a_sentence() -> None:
    with serving(Behaviour()) as server:
        gone = server.url
    with pytest.raises(NotProvenError, match=r"does not answer: .+\.$"):
        inspect(gone)


def test_the_version_a_new_environment_gets_has_no_known_hole() -> None:
    assert affecting(lock.DEFAULT_MLFLOW) == []


@pytest.mark.parametrize(
    ("version", "worst"),
    [
        ("3.17.1", None),
        ("3.16.1", "CVE-2026-116690"),
        ("3.9.0", "CVE-2026-64849"),
        ("3.15.0", "CVE-2026-116690"),
        ("3.18.0rc0", None),
        ("2.22.4", "CVE-2026-64849"),
    ],
)
def test_a_version_is_held_against_what_is_published(version: str, worst: str | None) -> None:
    rows = affecting(version)
    assert rows is not None
    assert (rows[0].id if rows else None) == worst


@pytest.mark.parametrize("dates", [[], ["yesterday"], ["{now}", "{now}"], ["{now_without_zone}"]])
def test_a_clock_that_is_right_or_says_nothing_is_not_blamed(dates: list[str]) -> None:
    now = format_datetime(datetime.now(UTC), usegmt=True)
    known = {"now": now, "now_without_zone": now.replace("GMT", "-0000")}
    front = httpx.Response(200, headers=[("date", date.format(**known)) for date in dates])
    assert [*safety.clock(front)] == []


def test_what_is_no_version_is_held_against_nothing() -> None:
    assert affecting("unknown") is None


def test_each_published_hole_names_the_record_it_was_read_in() -> None:
    assert [row.id for row in ADVISORIES if not row.source.startswith("https://")] == []


def test_verify_proves_a_good_server_and_writes_nothing(good: Server) -> None:
    good.seen.clear()
    receipt = verify_url(good.url, ADA)
    assert [check.tried for check in receipt.checks if not check.held] == []
    assert len(receipt.checks) == 4
    assert receipt.environment is None
    assert {m for m, path, _ in good.seen if not path.startswith(SEARCH)} == {"GET", "HEAD"}


def test_a_quick_verify_tries_one_place_and_the_login(good: Server) -> None:
    receipt = verify_url(good.url, ADA, quick=True)
    assert [check.tried for check in receipt.checks] == [
        "a stranger reads no experiment",
        "ada can read",
    ]


@pytest.mark.parametrize(
    ("behaviour", "missed"),
    [
        (Behaviour(login=None), "a stranger reads no experiment"),
        (Behaviour(open_paths=("/version",)), "a stranger is refused everywhere"),
        (Behaviour(hosts=("10.",)), "a foreign Host is refused"),
        (Behaviour(login=("ada", "another")), "ada can read"),
    ],
)
def test_verify_names_what_a_server_misses(behaviour: Behaviour, missed: str) -> None:
    with serving(behaviour) as server, pytest.raises(NotProvenError, match=missed):
        verify_url(server.url, ADA)


def test_verify_without_a_login_still_sees_an_open_door() -> None:
    open_door = Behaviour(login=None, hosts=("10.", "foreign."))
    with serving(open_door) as server, pytest.raises(NotProvenError) as missed:
        verify_url(server.url)
    assert "the Host foreign.example is answered with 200" in missed.value.sentence


def test_verify_does_not_send_a_password_in_clear() -> None:
    with pytest.raises(NotProvenError, match="not sent, because plain HTTP") as missed:
        verify_url("http://192.0.2.1:9", ADA, quick=True)
    assert ADA.password not in missed.value.sentence


def test_doctor_takes_the_password_from_the_environment(
    good: Server, command: Callable[..., Called], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKSTACK_PASSWORD", ADA.password)
    done = command("doctor", "--url", good.url, "--user", "ada")
    assert done.code == 0, done.err
    assert "The login can read." in done.out
    assert ADA.password not in done.out + done.err


def test_verify_by_url_prints_its_receipt(
    good: Server, command: Callable[..., Called], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKSTACK_PASSWORD", ADA.password)
    done = command("verify", "--url", good.url, "--user", "ada")
    assert (done.code, done.out) == (0, f"{good.url} is proven: 4 checks held.\n")


@pytest.mark.parametrize("name", ["doctor", "verify"])
def test_a_bad_server_ends_both_with_3(name: str, command: Callable[..., Called]) -> None:
    with serving(Behaviour(login=None)) as server:
        assert command(name, "--url", server.url).code == NotProvenError.exit_code


@pytest.mark.parametrize("name", ["doctor", "verify"])
def test_a_login_without_an_address_is_a_usage_error(
    name: str, command: Callable[..., Called]
) -> None:
    done = command(name, "--user", "ada")
    assert done.code == UsageError.exit_code
    assert "--url" in done.err
