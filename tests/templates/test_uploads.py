"""Uploads of any size stream through while they arrive."""

import pytest
from front import PASSWORD, USER, Front, authorization, exchange

SIZE = 50 << 20
PIECE = 1 << 20
CHUNKED = "Transfer-Encoding: chunked"


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
    path = f"/upload-{'chunked' if chunked else 'sized'}"
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
