"""MLflow never sees a password, and believes nobody but nginx about who asks."""

import pytest
from front import PASSWORD, USER, Front, authorization

SEEN_BY_MLFLOW = {
    "Authorization": [],
    "Proxy-Authorization": [],
    "Forwarded": [],
    "X-Forwarded-For": ["127.0.0.1"],
    "X-Forwarded-Proto": ["http"],
    "X-Forwarded-Host": [],
    "X-Forwarded-Port": [],
    "X-Forwarded-Prefix": [],
    "X-Real-IP": ["127.0.0.1"],
    "X-Remote-User": [USER],
    "Upgrade": [],
}


def _spellings(name: str) -> list[str]:
    return [name, name.lower(), name.upper(), name.replace("-", "_")]


@pytest.mark.parametrize("name", SEEN_BY_MLFLOW)
def test_a_forged_header_is_replaced_however_it_is_spelled(front: Front, name: str) -> None:
    path = f"/forged-{name}"
    spellings = [s for s in _spellings(name) if s.lower() != "authorization"]
    forged = tuple((spelling, f"forged-{n}") for n, spelling in enumerate(spellings))
    assert front.ask_as_ada(path, headers=forged).status == 200
    (seen,) = front.upstream.seen(path)
    assert seen.values(name) == SEEN_BY_MLFLOW[name]
    assert "forged" not in "".join(value for _, value in seen.headers), seen.headers


def test_a_second_authorization_header_never_reaches_mlflow(front: Front) -> None:
    front.ask_as_ada("/authorized-twice", headers=(("Authorization", "Bearer forged"),))
    seen = [request.headers for request in front.upstream.seen("/authorized-twice")]
    assert "Bearer" not in str(seen)


def test_no_header_that_mlflow_sees_holds_the_password(front: Front) -> None:
    front.ask_as_ada("/password")
    (seen,) = front.upstream.seen("/password")
    assert PASSWORD not in str(seen.headers)
    assert seen.values("X-Remote-User") == [USER]


def test_connection_headers_cannot_drop_what_nginx_sets(front: Front) -> None:
    front.ask_as_ada("/dropped", headers=(("Connection", "X-Remote-User, X-Forwarded-For"),))
    (seen,) = front.upstream.seen("/dropped")
    assert (seen.values("X-Remote-User"), seen.values("X-Forwarded-For")) == ([USER], ["127.0.0.1"])
    assert seen.values("Connection") == []


def test_other_headers_are_passed_on(front: Front) -> None:
    front.ask_as_ada("/passed", headers=(("X-Mlflow-Workspace", "team"), ("Range", "bytes=0-1")))
    (seen,) = front.upstream.seen("/passed")
    assert (seen.values("X-Mlflow-Workspace"), seen.values("Range")) == (["team"], ["bytes=0-1"])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("X-Big", "x" * 65536)], 400),
        ([(f"X-Big-{n}", "x" * 8000) for n in range(8)], 200),
        ([(f"X-Big-{n}", "x" * 30000) for n in range(8)], 400),
        ([("Cookie", "x" * 30000)], 200),
    ],
    ids=["one of 64 KB", "64 KB in eight", "240 KB in eight", "a cookie of 30 KB"],
)
def test_large_headers_pass_or_are_refused_in_words(
    front: Front, headers: list[tuple[str, str]], status: int
) -> None:
    assert front.ask_as_ada("/large", headers=tuple(headers)).status == status


@pytest.mark.parametrize(
    "framing",
    [
        [("Content-Length", "4"), ("Transfer-Encoding", "chunked")],
        [("Content-Length", "4"), ("Content-Length", "40")],
        [("Content-Length", "+4")],
        [("Transfer-Encoding", "chunked, identity")],
        [("Transfer-Encoding", "xchunked")],
    ],
    ids=str,
)
def test_a_body_of_two_lengths_is_refused(front: Front, framing: list[tuple[str, str]]) -> None:
    lines = ["POST /two-lengths HTTP/1.1", f"Host: {front.host}", "Connection: close"]
    lines += [authorization(f"{USER}:{PASSWORD}".encode())]
    lines += [f"{name}: {value}" for name, value in framing]
    assert front.first_status("\r\n".join([*lines, "", ""]).encode()) in {400, 501}
    assert front.upstream.seen("/two-lengths") == []
