"""Uploads of any size stream through while they arrive."""

import pytest
from front import PASSWORD, USER, Front, authorization, exchange

SIZE = 50 << 20
PIECE = 1 << 20
CHUNKED = "Transfer-Encoding: chunked"
ARTIFACT = "/api/2.0/mlflow-artifacts/artifacts/1/run/artifacts"
MOST = 64 << 20
"""The largest body of what is no artifact."""


def _head(front: Front, path: str, *headers: str, login: bool = True) -> bytes:
    lines = [f"PUT {path} HTTP/1.1", f"Host: {front.host}", "Connection: close", *headers]
    if login:
        lines.append(authorization(f"{USER}:{PASSWORD}".encode()))
    return "\r\n".join([*lines, "", ""]).encode()


def _pieces(count: int, chunked: bool) -> bytes:
    piece = b"x" * PIECE
    return (b"%x\r\n%s\r\n" % (PIECE, piece) if chunked else piece) * count


@pytest.mark.parametrize("how", [f"Content-Length: {SIZE}", CHUNKED])
def test_mlflow_reads_the_first_bytes_before_the_last_are_sent(front: Front, how: str) -> None:
    chunked = how == CHUNKED
    path = f"{ARTIFACT}/{'chunked' if chunked else 'sized'}.bin?x=%2F"
    with front.connect() as connection:
        connection.sendall(_head(front, path, how) + _pieces(1, chunked))
        assert front.upstream.wait_for_bytes(path, PIECE) == PIECE
        rest = _pieces(SIZE // PIECE - 1, chunked) + (b"0\r\n\r\n" if chunked else b"")
        answer = exchange(connection, rest)
    assert answer.status == 200, answer.head
    assert front.upstream.wait_for_bytes(path, SIZE) == SIZE


def test_a_strangers_upload_is_refused_before_it_is_sent(front: Front) -> None:
    head = _head(front, "/stranger-upload", f"Content-Length: {SIZE}", login=False)
    assert front.first_status(head) == 401
    assert front.upstream.seen("/stranger-upload") == []


@pytest.mark.parametrize("prefix", ["/api", "/ajax-api"])
def test_an_artifact_may_be_larger_than_any_other_body(front: Front, prefix: str) -> None:
    path = f"{prefix}/2.0/mlflow-artifacts/artifacts/1/{prefix[1:]}-large"
    with front.connect() as connection:
        connection.sendall(_head(front, path, f"Content-Length: {MOST + 1}") + _pieces(1, False))
        assert front.upstream.wait_for_bytes(path, PIECE) == PIECE


NO_ARTIFACTS = {
    "a call of the API": ("POST", "/api/2.0/mlflow/runs/log-batch"),
    "another method": ("PATCH", f"{ARTIFACT}/x"),
    "no artifact's name": ("PUT", "/api/2.0/mlflow-artifacts/artifacts/"),
    "no artifact's name but a query": ("PUT", "/api/2.0/mlflow-artifacts/artifacts/?x"),
    "another version of the API": ("PUT", ARTIFACT.replace("2.0", "2x0")),
    "a slash too many": ("PUT", f"/{ARTIFACT}/x"),
    "an encoded letter": ("PUT", ARTIFACT.replace("mlflow", "%6dlflow")),
    "what it is inside": ("PUT", f"/x?y={ARTIFACT}/x"),
}


@pytest.mark.parametrize(("method", "path"), NO_ARTIFACTS.values(), ids=NO_ARTIFACTS)
def test_mlflow_is_not_made_to_hold_a_huge_body_in_memory(
    front: Front, method: str, path: str
) -> None:
    before = len(front.upstream.requests)
    head = _head(front, path, f"Content-Length: {MOST + 1}").replace(b"PUT", method.encode(), 1)
    assert front.first_status(head) == 413
    assert len(front.upstream.requests) == before


def test_a_huge_body_in_chunks_is_cut_off(front: Front) -> None:
    path = "/api/2.0/mlflow/huge-in-chunks"
    with front.connect() as connection:
        answer = exchange(connection, _head(front, path, CHUNKED) + _pieces(66, True))
    assert answer.status in {0, 413}
    assert front.upstream.wait_for_bytes(path, 0) <= MOST


@pytest.mark.parametrize(
    ("method", "login", "status"), [("POST", False, 401), ("POST", True, 405), ("PUT", False, 401)]
)
def test_a_huge_upload_is_refused_for_its_login_or_method_and_not_for_its_size(
    front: Front, method: str, login: bool, status: int
) -> None:
    before = len(front.upstream.requests)
    head = _head(front, f"{ARTIFACT}/x", f"Content-Length: {MOST + 1}", login=login)
    assert front.first_status(head.replace(b"PUT", method.encode(), 1)) == status
    assert len(front.upstream.requests) == before


@pytest.mark.parametrize("place", ["/.upload", "/.no-upload"])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_nobody_reaches_the_place_for_artifacts_by_its_own_name(
    front: Front, method: str, place: str
) -> None:
    before = len(front.upstream.requests)
    assert front.ask(place, method).status == 401
    assert front.ask_as_ada(place, method).status == 401
    assert len(front.upstream.requests) == before
