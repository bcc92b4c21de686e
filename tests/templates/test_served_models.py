"""Served models behind the login: what they hear, what they may say, and where they are not."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from front import PASSWORD, USER, Front, Upstream, running_upstream

from trackstack.agent import folders
from trackstack.agent.ensure_nginx import link

HOSTILE_HEADERS = b"\r\n".join(
    [
        b"Content-Type: text/html",
        b"X-Accel-Redirect: /api/2.0/mlflow/experiments/search",
        b"Set-Cookie: session=stolen",
        b"WWW-Authenticate: Basic realm=other",
        b"Strict-Transport-Security: max-age=99999",
        b"Clear-Site-Data: *",
        b"Service-Worker-Allowed: /",
        b"Refresh: 0; url=https://elsewhere.example",
        b"Location: https://elsewhere.example/?asked=all",
        b"Link: <https://elsewhere.example>; rel=preload; as=script",
        b'Alt-Svc: h2="elsewhere.example:443"',
        b'NEL: {"report_to": "all", "max_age": 1, "success_fraction": 1}',
        b'Report-To: {"group": "all", "endpoints": [{"url": "https://elsewhere.example"}]}',
        b'Reporting-Endpoints: all="https://elsewhere.example"',
        b"Content-Security-Policy-Report-Only: default-src 'none'; report-uri //elsewhere.example",
        b"Access-Control-Allow-Origin: *",
        b"X-Content-Type-Options: none",
        b"Content-Length: 26",
        b"Connection: close",
        b"",
        b"<script>alert(1)</script>\n",
    ]
)


def place_of(front: Front, name: str) -> Path:
    """Where the socket of a model's server lies, behind the link that the agent makes."""
    server = front.machine / folders.MODEL_SERVERS / f"model-{name}.0"
    server.mkdir(parents=True, exist_ok=True)
    served = front.machine / folders.SERVED
    served.mkdir(exist_ok=True)
    link(served / name, Path("../models") / server.name)
    return server / "socket"


@pytest.fixture(scope="module")
def model(front: Front) -> Iterator[Upstream]:
    """A model that is served as 'echo'."""
    with running_upstream(place_of(front, "echo")) as upstream:
        yield upstream


@contextmanager
def answering(path: Path, answer: bytes) -> Iterator[None]:
    """A server that gives one answer to everybody."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))
        door.listen()

        def serve() -> None:
            while True:
                try:
                    asker, _ = door.accept()
                except OSError:
                    return
                with asker:
                    asker.recv(65536)
                    asker.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            door.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("path", ["invocations", "ping"])
def test_a_stranger_is_refused_whether_there_is_a_model_or_not(
    front: Front, model: Upstream, path: str
) -> None:
    before = len(model.requests)
    there = front.ask(f"/serve/echo/{path}", "POST", body=b"{}")
    elsewhere = front.ask(f"/serve/nobody/{path}", "POST", body=b"{}")
    wrong = front.ask(f"/serve/echo/{path}", login=b"ada:wrong")
    assert (there.status, elsewhere.status, wrong.status) == (401, 401, 401)
    assert there.timeless == elsewhere.timeless
    assert len(model.requests) == before, "the model heard of a stranger"


def test_a_model_hears_what_is_asked_and_not_by_whom(front: Front, model: Upstream) -> None:
    answer = front.ask_as_ada(
        "/serve/echo/invocations",
        "POST",
        headers=(
            ("Content-Type", "text/csv"),
            ("Cookie", "session=mine"),
            ("X-Remote-User", "forged"),
            ("X-Forwarded-For", "10.0.0.1"),
        ),
        body=b"a,b\n1,2\n",
    )
    assert answer.status == 200
    seen = model.requests[-1]
    assert (seen.method, seen.path, seen.received) == ("POST", "/invocations", 8)
    assert {name.lower() for name, _ in seen.headers} == {"host", "content-type", "content-length"}
    assert (seen.values("Content-Type"), seen.values("Host")) == (["text/csv"], ["localhost"])
    assert USER not in str(seen.headers)
    assert PASSWORD not in str(seen.headers)


@pytest.mark.parametrize("status", [200, 201, 302, 307, 308, 401, 403, 404, 500, 503])
def test_what_a_model_says_runs_nowhere_and_leads_nowhere(front: Front, status: int) -> None:
    before = len(front.upstream.requests)
    says = b"HTTP/1.1 %d Whatever\r\n%b" % (status, HOSTILE_HEADERS)
    with answering(place_of(front, "hostile"), says):
        answer = front.ask_as_ada("/serve/hostile/invocations", "POST", body=b"{}")
    assert answer.status == status
    assert len(front.upstream.requests) == before, "the model sent a user's request to MLflow"
    assert answer.values("Content-Security-Policy") == ["sandbox; default-src 'none'"]
    assert answer.values("X-Content-Type-Options") == ["nosniff"]
    told = {line.partition(":")[0].lower() for line in answer.head.split("\r\n")[1:]}
    assert told == {
        *("server", "date", "content-type", "content-length", "connection"),
        *("x-content-type-options", "referrer-policy", "content-security-policy"),
    }


@pytest.mark.parametrize(
    "path",
    [
        *("/serve/", "/serve/echo", "/serve/echo/", "/serve/echo/version", "/serve/echo/docs"),
        *("/serve/echo/invocations/", "/serve/echo/ping/x", "/serve/Echo/ping", "/serve//ping"),
        *("/serve/echo/../echo/ping", "/serve/./echo/ping", "/serve/%2e%2e/health"),
        *("/serve/..%2fmodels%2fmodel-echo.0/ping", "/serve/model-echo.0/ping"),
        *("/serve/nobody/ping", "/serve/nobody/invocations"),
    ],
)
def test_what_is_no_model_is_not_found_and_asks_nobody(
    front: Front, model: Upstream, path: str
) -> None:
    before = (len(model.requests), len(front.upstream.requests))
    assert front.ask_as_ada(path).status == 404
    assert (len(model.requests), len(front.upstream.requests)) == before


def test_a_model_that_is_down_is_told_from_one_that_is_not_there(front: Front) -> None:
    path = place_of(front, "down")
    assert front.ask_as_ada("/serve/down/ping").status == 503, "its socket is not there yet"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))
    answer = front.ask_as_ada("/serve/down/ping")
    assert answer.status == 503
    assert answer.values("Retry-After") == ["5"]


def test_a_link_that_is_turned_leads_the_next_request_elsewhere(front: Front) -> None:
    with (
        answering(place_of(front, "turned"), b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold"),
        answering(place_of(front, "other"), b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew"),
    ):
        assert front.ask_as_ada("/serve/turned/ping").body == b"old"
        link(front.machine / folders.SERVED / "turned", Path("../models/model-other.0"))
        assert front.ask_as_ada("/serve/turned/ping").body == b"new"


def test_a_body_has_a_largest_size(front: Front, model: Upstream) -> None:
    before = len(model.requests)
    head = (("Content-Length", str(65 << 20)),)
    assert front.ask_as_ada("/serve/echo/invocations", "POST", headers=head).status == 413
    assert len(model.requests) == before


def test_the_log_names_who_asked_a_model(front: Front) -> None:
    place_of(front, "logged")
    front.ask_as_ada("/serve/logged/ping")
    assert b'"user":"ada"' in front.logged("/serve/logged/ping")[0]
