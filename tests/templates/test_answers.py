"""What nginx makes of answers: compressed, kept alive, quick to say that MLflow is down."""

import gzip
import subprocess
import time

import pytest
from front import PASSWORD, USER, Front, authorization

from trackstack.agent import folders
from trackstack.agent.machine import ask

COMPRESSED = (
    "application/javascript",
    "text/javascript",
    "application/json",
    "text/css",
    "text/html",
    "text/plain",
    "image/svg+xml",
)
SIZE = 70_000


@pytest.mark.parametrize("kind", COMPRESSED)
def test_text_is_compressed_for_those_who_accept_it(front: Front, kind: str) -> None:
    path = f"/body?type={kind.replace('+', '%2B')}&size={SIZE}"
    plain = front.ask_as_ada(path)
    packed = front.ask_as_ada(path, headers=(("Accept-Encoding", "br, gzip"), ("Via", "1.1 a")))
    assert (plain.values("Content-Encoding"), len(plain.body)) == ([], SIZE)
    assert packed.values("Content-Encoding") == ["gzip"]
    assert packed.values("Vary") == ["Accept-Encoding"]
    assert gzip.decompress(_joined(packed.body)) == plain.body


@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream", "application/zip"])
def test_what_is_packed_already_is_left_alone(front: Front, kind: str) -> None:
    answer = front.ask_as_ada(
        f"/body?type={kind}&size={SIZE}", headers=(("Accept-Encoding", "gzip"),)
    )
    assert (answer.values("Content-Encoding"), len(answer.body)) == ([], SIZE)


def test_a_small_answer_is_not_worth_compressing(front: Front) -> None:
    answer = front.ask_as_ada(
        "/body?type=application/json&size=700", headers=(("Accept-Encoding", "gzip"),)
    )
    assert answer.values("Content-Encoding") == []


def _joined(chunked: bytes) -> bytes:
    """The body behind a chunked transfer."""
    body = b""
    while chunked:
        size, _, chunked = chunked.partition(b"\r\n")
        count = int(size, 16)
        body, chunked = body + chunked[:count], chunked[count + 2 :]
    return body


def test_without_mlflow_a_login_is_still_asked_for_and_502_comes_quickly(own_front: Front) -> None:
    own_front.upstream.socket.unlink()
    started = time.monotonic()
    with_login = [own_front.ask_as_ada("/").status for _ in range(5)]
    took = time.monotonic() - started
    assert with_login == [502] * 5
    assert own_front.ask("/").status == 401
    assert own_front.ask("/livez").status == 200
    assert took < 2, "nginx waits for an MLflow that is not there"


def test_connections_to_mlflow_are_used_again(own_front: Front) -> None:
    statuses = {own_front.ask_as_ada("/").status for _ in range(40)}
    assert statuses == {200}
    workers = 1 + len(_children(own_front))
    assert own_front.upstream.connections <= workers, "more than one connection for each worker"


def _children(front: Front) -> list[str]:
    pid = (front.machine / "run" / "nginx.pid").read_text().strip()
    told = subprocess.run(["pgrep", "-P", pid], capture_output=True, text=True, check=True)
    return told.stdout.split()


@pytest.mark.parametrize(
    ("path", "host", "login"),
    [
        ("/", None, None),
        ("/", None, f"{USER}:{PASSWORD}".encode()),
        ("/gateway", None, f"{USER}:{PASSWORD}".encode()),
        ("/", "elsewhere.example", None),
        ("/%00", None, None),
        ("/livez", None, None),
    ],
)
def test_nobody_is_told_nginxs_version(
    front: Front, path: str, host: str | None, login: bytes | None
) -> None:
    answer = front.ask(path, host=host, login=login)
    assert answer.values("Server") == ["nginx"]
    assert b"nginx/" not in answer.body


def test_the_agents_check_is_answered_on_its_socket_only(front: Front) -> None:
    on_socket = ask(front.machine / folders.NGINX_SOCKET, "/release")
    assert on_socket == (200, front.release.nginx)
    over_tcp = [
        front.ask("/release", host=host, login=login)
        for host in (None, "unix:run/nginx.sock", "elsewhere.example", '""')
        for login in (None, f"{USER}:{PASSWORD}".encode())
    ]
    assert [a for a in over_tcp if front.release.nginx.encode() in a.raw] == []


def test_the_agents_socket_leads_nowhere_else(front: Front) -> None:
    statuses = [
        ask(front.machine / folders.NGINX_SOCKET, path, host=front.host) for path in ("/", "/livez")
    ]
    assert [status and status[0] for status in statuses] == [404, 404]


def test_only_the_owner_can_reach_the_sockets(front: Front) -> None:
    assert (front.machine / folders.RUN).stat().st_mode & 0o777 == 0o700


def test_nginx_finds_nothing_to_warn_about(front: Front) -> None:
    settings = front.machine / folders.NGINX_SETTINGS
    told = subprocess.run(
        ["nginx", "-t", "-q", "-p", "./", "-c", settings, "-e", "stderr"],
        cwd=front.machine,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stderr) == (0, "")


def test_a_connection_serves_a_stranger_and_a_user_apart(front: Front) -> None:
    login = authorization(f"{USER}:{PASSWORD}".encode())
    first = f"GET /kept HTTP/1.1\r\nHost: {front.host}\r\n{login}\r\n\r\n"
    second = f"GET /kept HTTP/1.1\r\nHost: {front.host}\r\nConnection: close\r\n\r\n"
    answers = front.send((first + second).encode()).raw
    assert [line for line in answers.split(b"\r\n") if b"HTTP/1.1 " in line][-1].endswith(
        b"401 Unauthorized"
    )
