"""A password on its way out opens the door as long as its file is there, and tells nothing."""

from collections.abc import Iterator
from contextlib import chdir

import pytest
from exposed import Exposed, running

from trackstack.agent.ensure_users import shut_out


@pytest.fixture
def server() -> Iterator[Exposed]:
    with running("upstream") as made:
        made.let_in("grace", "new")
        made.keep_previous("grace", "old")
        made.let_in("bob", "only")
        yield made
        assert not made.errors.read_text()


def test_both_passwords_open_and_a_third_does_not(server: Exposed) -> None:
    passwords = {"new": 200, "old": 200, "older": 401, "": 401}
    got = {each: server.ask("/", login=f"grace:{each}".encode()).status for each in passwords}
    assert got == passwords


def test_the_old_one_is_dead_when_its_file_is_gone(server: Exposed) -> None:
    assert server.ask("/", login=b"grace:old").status == 200
    (server.machine / "users" / "grace" / "previous").unlink()
    assert server.ask("/", login=b"grace:old").status == 401
    assert server.ask("/", login=b"grace:new").status == 200


def test_who_is_shut_out_is_so_with_both(server: Exposed) -> None:
    with chdir(server.machine):
        shut_out("grace")
    for password in ("new", "old"):
        assert server.ask("/", login=f"grace:{password}".encode()).status == 401


def test_an_old_password_opens_for_nobody_else(server: Exposed) -> None:
    assert server.ask("/", login=b"bob:old").status == 401
    assert server.ask("/", login=b"bob:new").status == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/2.0/mlflow/runs/log-batch"),
        ("PUT", "/api/2.0/mlflow-artifacts/artifacts/upload"),
    ],
)
def test_an_upload_with_the_old_password_arrives_whole_and_with_its_user(
    server: Exposed, method: str, path: str
) -> None:
    body = b"x" * 300_000
    assert server.ask(path, method, login=b"grace:old", body=body).status == 200
    (heard,) = server.upstream.seen(path)
    assert heard.received == len(body)
    assert heard.values("X-Remote-User") == ["grace"]
    assert heard.values("Authorization") == []


SHUT = ["/gateway/x", "/ajax-api/3.0/mlflow/assistant/message", "/x/../y", "/x/%2e%2e/y"]


@pytest.mark.parametrize("path", SHUT)
def test_what_is_shut_is_shut_for_the_old_password_too(server: Exposed, path: str) -> None:
    assert server.ask(path, login=b"grace:old").status == 404
    assert server.upstream.seen(path) == []


@pytest.mark.parametrize("path", ["/", "/health", "/gateway/x", "/x/../y", "/x/./y"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
def test_refusals_are_equal_to_the_letter_whoever_is_tried(
    server: Exposed, path: str, method: str
) -> None:
    tried = [b"grace:wrong", b"bob:wrong", b"nobody:wrong", b"../bob:wrong", None]
    answers = {login: server.ask(path, method, login=login).timeless for login in tried}
    assert len(set(answers.values())) == 1, answers
    assert b" 401 " in answers[None]


@pytest.mark.parametrize("login", [None, b"grace:wrong", b"bob:only"], ids=str)
@pytest.mark.parametrize("path", ["/.previous", "/%2eprevious", "/x/../.previous"])
def test_the_question_whether_an_old_password_fits_is_nobodys_to_ask(
    server: Exposed, path: str, login: bytes | None
) -> None:
    before = len(server.upstream.requests)
    assert server.ask(path, login=login).status in {401, 404 if login == b"bob:only" else 401}
    assert len(server.upstream.requests) == before
