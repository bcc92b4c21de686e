"""The log of requests: one JSON object a line, whatever comes, and nothing secret in it."""

import json
import time

import pytest
from front import DEADLINE_SECONDS, PASSWORD, USER, Front, authorization

KEYS = {"time", "user", "address", "method", "path", "status", "bytes_in", "bytes_out", "seconds"}


class Written:
    """What nginx has written since this was made."""

    def __init__(self, front: Front) -> None:
        self._begins = {file: file.stat().st_size for file in (front.log, front.errors)}
        self._log = front.log

    def all(self) -> bytes:
        return b"".join(file.read_bytes()[begin:] for file, begin in self._begins.items())

    def lines(self, count: int = 1) -> list[bytes]:
        """Wait for so many lines of the log; nginx writes one when it is done with a request."""
        until = time.monotonic() + DEADLINE_SECONDS
        while True:
            lines = self._log.read_bytes()[self._begins[self._log] :].splitlines()
            if len(lines) >= count or time.monotonic() > until:
                return lines
            time.sleep(0.005)


def _entry(front: Front, mark: str) -> dict[str, object]:
    (line,) = front.logged(mark)
    entry = json.loads(line)
    assert isinstance(entry, dict)
    return entry


def test_a_request_leaves_who_what_and_how_it_ended(front: Front) -> None:
    front.ask_as_ada("/logged/model.pkl", "PUT", body=b"x" * 5000)
    entry = _entry(front, "/logged/model.pkl")
    told = {key: entry[key] for key in ("user", "address", "method", "path", "status")}
    assert told == {
        "user": USER,
        "address": "127.0.0.1",
        "method": "PUT",
        "path": "/logged/model.pkl",
        "status": 200,
    }
    assert set(entry) == KEYS
    assert isinstance(entry["bytes_in"], int)
    assert entry["bytes_in"] > 5000


def test_a_shut_route_is_logged_with_the_user(front: Front) -> None:
    front.ask_as_ada("/gateway/logged-shut")
    entry = _entry(front, "logged-shut")
    assert (entry["user"], entry["status"]) == (USER, 404)


HOSTILE = {
    "quotes": b'/hostile-1"},{"user":"forged"',
    "a backslash": b"/hostile-2\\",
    "an encoded newline": b"/hostile-3%0a{}",
    "an encoded quote": b"/hostile-4%22",
    "an encoded escape": b"/hostile-5%1b[31m",
    "bytes that are no text": b"/hostile-6\xff\xfe",
    "encoded bytes that are no text": b"/hostile-7%ff%fe%c0%af",
    "half a letter": b"/hostile-8%e2%82",
    "a control character": b"/hostile-9\x01",
    "DEL": b"/hostile-10\x7f",
    "a separator that JavaScript takes for a newline": b"/hostile-11\xe2\x80\xa8",
    "a dot folder": b"/hostile-12/../x",
}


@pytest.mark.parametrize("path", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("login", [True, False], ids=["ada", "stranger"])
def test_a_hostile_path_is_one_line_of_json(front: Front, path: bytes, login: bool) -> None:
    lines = [b"GET %s HTTP/1.1" % path, f"Host: {front.host}".encode(), b"Connection: close"]
    if login:
        lines.append(authorization(f"{USER}:{PASSWORD}".encode()).encode())
    written = Written(front)
    front.send(b"\r\n".join([*lines, b"", b""]))
    (line,) = written.lines()
    entry = json.loads(line.decode())
    assert set(entry) == KEYS
    assert entry["path"].startswith("/hostile-") or entry["status"] == 400


@pytest.mark.parametrize(
    ("request_line", "host"),
    [
        ("GET / HTTP/1.1", None),
        ("TRACE / HTTP/1.1", None),
        ("GET / HTTP/1.1", "elsewhere.example"),
        ("GET /livez HTTP/1.1", None),
        ("GET /gateway HTTP/1.1", None),
        ("get / HTTP/1.1", None),
        ("GET / HTTP/9.9", None),
        ("GET /%00 HTTP/1.1", None),
        ("CONNECT localhost:80 HTTP/1.1", None),
        ("GET http://hunter2:hunter2@localhost/ HTTP/1.1", None),
        ("GET /?token=hunter2 HTTP/1.1", None),
    ],
)
@pytest.mark.parametrize("name", ["hunter2", "hunter2hunter2" * 30, "hunter2\n", "\x01hunter2\xff"])
def test_no_name_is_written_down_that_did_not_get_in(
    front: Front, request_line: str, host: str | None, name: str
) -> None:
    lines = [
        request_line,
        f"Host: {host or front.host}",
        authorization(f"{name}:hunter2".encode("latin-1")),
        "Cookie: hunter2",
        "Referer: http://hunter2/",
        "User-Agent: hunter2",
        "Connection: close",
    ]
    written = Written(front)
    front.send("\r\n".join([*lines, "", ""]).encode("latin-1"))
    written.lines(0 if "/livez" in request_line else 1)
    assert b"hunter2" not in written.all()


def test_no_password_and_no_query_is_written_down(front: Front) -> None:
    written = Written(front)
    front.ask_as_ada("/asked?token=a-secret", headers=(("Cookie", "a-secret"),))
    front.ask_as_ada("/asked?token=a-secret", "POST", body=b"a-secret")
    assert [json.loads(line)["path"] for line in written.lines(2)] == ["/asked", "/asked"]
    assert b"a-secret" not in written.all()
    assert PASSWORD.encode() not in written.all()


def test_a_failed_question_to_mlflow_writes_no_query_down(own_front: Front) -> None:
    own_front.upstream.socket.unlink()
    own_front.ask_as_ada("/asked?token=a-secret")
    entry = _entry(own_front, "/asked")
    assert (entry["status"], entry["user"]) == (502, USER)
    assert b"a-secret" not in own_front.errors.read_bytes()


def test_liveness_is_not_logged(front: Front) -> None:
    written = Written(front)
    front.ask("/livez")
    front.ask_as_ada("/after-livez")
    assert [json.loads(line)["path"] for line in written.lines()] == ["/after-livez"]
