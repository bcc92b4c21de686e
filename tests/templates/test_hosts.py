"""A Host that is not this server's is refused; MLflow sees this server's own name only."""

import pytest
from front import PASSWORD, USER, Front, authorization

LOGIN = authorization(f"{USER}:{PASSWORD}".encode())


@pytest.mark.parametrize(
    ("host", "seen"),
    [
        ("localhost:{port}", "localhost:{port}"),
        ("127.0.0.1:{port}", "127.0.0.1:{port}"),
        ("LocalHost:{port}", "localhost:{port}"),
        ("localhost.:{port}", "localhost:{port}"),
        ("localhost", "localhost:{port}"),
        ("localhost:1", "localhost:{port}"),
    ],
)
def test_mlflow_sees_the_name_it_knows(front: Front, host: str, seen: str) -> None:
    path = f"/known-host-{host.format(port='x')}-"
    assert front.ask_as_ada(path, host=host.format(port=front.port)).status == 200
    hosts = [request.values("Host") for request in front.upstream.seen(path)]
    assert hosts == [[seen.format(port=front.port)]]


@pytest.mark.parametrize(
    "host",
    [
        "elsewhere.example",
        "elsewhere.example:{port}",
        "localhost.elsewhere.example",
        "xlocalhost:{port}",
        "localhost..",
        "127.0.0.1.elsewhere.example:{port}",
        "127.0.0.2:{port}",
        "10.0.0.1",
        "0.0.0.0:{port}",
        "127.1",
        "2130706433",
        "[::1]:{port}",
        "localhost:{port}, elsewhere.example",
        "localhost elsewhere.example",
        "localhost@elsewhere.example",
        "elsewhere.example#localhost",
        "elsewhere.example/localhost",
        "*",
        "_",
        '""',
        "unix:run/nginx.sock",
    ],
)
def test_a_foreign_host_is_refused_though_the_login_is_right(front: Front, host: str) -> None:
    before = len(front.upstream.requests)
    refused = front.ask_as_ada("/foreign-host", host=host.format(port=front.port))
    assert refused.status in {400, 421}
    assert not refused.values("WWW-Authenticate"), "a foreign page must not make a browser ask"
    assert len(front.upstream.requests) == before


@pytest.mark.parametrize(
    ("request_line", "hosts", "status"),
    [
        ("GET / HTTP/1.1", [], 400),
        ("GET / HTTP/1.0", [], 421),
        ("GET / HTTP/1.1", [""], 400),
        ("GET / HTTP/1.1", ["localhost", "elsewhere.example"], 400),
        ("GET / HTTP/1.1", ["localhost", "localhost"], 400),
        ("GET http://elsewhere.example/ HTTP/1.1", ["localhost"], 421),
        ("GET http://elsewhere.example/ HTTP/1.1", ["elsewhere.example"], 421),
        ("GET http://localhost@elsewhere.example/ HTTP/1.1", ["localhost"], 400),
        ("GET https://elsewhere.example:443/ HTTP/1.1", ["localhost"], 421),
    ],
)
def test_a_request_without_one_right_host_is_refused(
    front: Front, request_line: str, hosts: list[str], status: int
) -> None:
    before = len(front.upstream.requests)
    lines = [request_line, *[f"Host: {host}" for host in hosts], LOGIN, "Connection: close"]
    answer = front.send("\r\n".join([*lines, "", ""]).encode())
    # nginx before 1.23 takes an empty Host for a missing name, not for a wrong one.
    assert answer.status in ({status, 421} if hosts == [""] else {status})
    assert len(front.upstream.requests) == before


def test_a_right_absolute_address_does_not_smuggle_another_host_in(front: Front) -> None:
    line = f"GET http://localhost:{front.port}/smuggled HTTP/1.1"
    lines = [line, "Host: elsewhere.example", LOGIN, "Connection: close", "", ""]
    front.send("\r\n".join(lines).encode())
    seen = [(request.path, request.values("Host")) for request in front.upstream.seen("/smuggled")]
    assert seen in ([], [("/smuggled", [front.host])])
