"""A Host that is not this server's is refused; MLflow sees this server's own name only."""

import pytest
from front import Front


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
