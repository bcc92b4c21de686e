"""A front before a cloud's double: it does what the cloud does and the double does not.

Writes pass one at a time, because a double that looks and then writes can lose a race that the
cloud decides.
"""

import http.client
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import parse_qs, quote, urlsplit

from engine.world.serving import Secured, serving_front

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "expect"}


@dataclass(frozen=True)
class Request:
    """What a client sent.

    Attributes:
        target: path and query.
        headers: by their names in small letters.
        client: the address it came from.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""
    client: str = "127.0.0.1"

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.target).query).items()}


@dataclass(frozen=True)
class Answer:
    """What it gets."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


Next = Callable[[Request], Answer]
Rule = Callable[[Request, Next], Answer]
"""Answers a request, by itself or with what comes next: the other rules, then the double."""


@contextmanager
def running_front(
    upstream: str,
    rules: Sequence[Rule],
    recorded: list[tuple[Request, Answer]],
    address: str = "127.0.0.1",
    secured: Secured | None = None,
) -> Iterator[str]:
    """A front at an address of its own.

    Args:
        upstream: the double's URL.
        rules: the first is asked first.
        recorded: gets every request with its answer, in the order of the answers.
        address: of this computer, at which it answers.
        secured: where it answers besides.
    """
    one_at_a_time = threading.Lock()

    def pass_on(request: Request) -> Answer:
        kept = {k: v for k, v in request.headers.items() if k not in _HOP_BY_HOP}
        connection = http.client.HTTPConnection(urlsplit(upstream).netloc, timeout=60)
        try:
            connection.request(request.method, request.target, request.body or None, kept)
            got = connection.getresponse()
            headers = {k: v for k, v in got.getheaders() if k.lower() not in _HOP_BY_HOP}
            if request.method == "HEAD" and (size := got.getheader("Content-Length")):
                headers["Content-Length"] = size
            return Answer(got.status, headers, got.read())
        finally:
            connection.close()

    def in_turn(request: Request) -> Answer:
        if request.method in {"GET", "HEAD"}:
            return pass_on(request)
        with one_at_a_time:
            return pass_on(request)

    answered: Next = in_turn
    for rule in reversed(rules):
        answered = _bound(rule, answered)

    class Handler(_Handler):
        def answer(self, request: Request) -> Answer:
            answer = answered(request)
            recorded.append((request, answer))
            return answer

    with serving_front(address, Handler, secured) as port:
        yield f"http://{address}:{port}"


def owned_by(account: str) -> Rule:
    """S3 refuses a request that expects a bucket to be somebody else's."""

    def rule(request: Request, pass_on: Next) -> Answer:
        expected = request.headers.get("x-amz-expected-bucket-owner", account)
        return pass_on(request) if expected == account else s3_refusal(403, "AccessDenied")

    return rule


def without_listing(request: Request, pass_on: Next) -> Answer:
    """S3 does not tell whether an object is missing to whom may not list the bucket."""
    answer = pass_on(request)
    missing = request.method in {"GET", "HEAD"} and answer.status == 404
    return s3_refusal(403, "AccessDenied") if missing else answer


def conditional_reads(request: Request, pass_on: Next) -> Answer:
    """Google answers 304 to whom has seen the object's generation.

    https://cloud.google.com/storage/docs/request-preconditions
    """
    seen = request.query.get("ifGenerationNotMatch")
    if request.method == "GET" and seen:
        bucket, _, name = request.path.partition("/b/")[2].partition("/o/")
        look = f"/storage/v1/b/{bucket}/o/{name}"
        about = pass_on(Request("GET", look, {"host": request.headers["host"]}))
        if about.status == 200 and json.loads(about.body)["generation"] == seen:
            return Answer(304, {})
    return pass_on(request)


def one_write_a_second() -> Rule:
    """Google takes one write a second of the same object.

    https://cloud.google.com/storage/quotas
    """
    taken: dict[str, float] = {}
    looking = threading.Lock()

    def rule(request: Request, pass_on: Next) -> Answer:
        if request.method != "POST":
            return pass_on(request)
        named = _uploaded(request)
        with looking:
            if time.monotonic() - taken.get(named, -1.0) < 1.0:
                return google_refusal(429, "The object exceeded the rate limit.")
            taken[named] = time.monotonic()
        return pass_on(request)

    return rule


def _uploaded(request: Request) -> str:
    """The name of an object that comes with what is to be known of it, in one request."""
    about = request.body.split(b"\r\n\r\n", 1)[1].split(b"\r\n", 1)[0]
    return str(json.loads(about)["name"])


def knowing(bucket: str) -> Rule:
    """Google says so when it is the bucket that is missing."""

    def rule(request: Request, pass_on: Next) -> Answer:
        named = request.path.partition("/b/")[2].partition("/")[0]
        if named in {bucket, quote(bucket, safe="")}:
            return pass_on(request)
        return google_refusal(404, "The specified bucket does not exist.")

    return rule


def s3_refusal(status: int, code: str) -> Answer:
    """An error as S3 writes it."""
    said = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>"
    return Answer(status, {"Content-Type": "application/xml"}, said.encode())


def google_refusal(status: int, sentence: str) -> Answer:
    """An error as Google Cloud Storage writes it."""
    said = {"error": {"code": status, "message": sentence, "errors": []}}
    return Answer(status, {"Content-Type": "application/json"}, json.dumps(said).encode())


def _bound(rule: Rule, pass_on: Next) -> Next:
    return lambda request: rule(request, pass_on)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer is one packet, and waits for no other.
    wbufsize = -1
    disable_nagle_algorithm = True

    def answer(self, request: Request) -> Answer:
        raise NotImplementedError

    def handle_expect_100(self) -> bool:
        # Left in the buffer, it lets a client wait a second at each upload.
        go_on = super().handle_expect_100()
        self.wfile.flush()
        return go_on

    def _any(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body, client = self._body(headers), self.client_address[0]
        answer = self.answer(Request(self.command, self.path, headers, body, client))
        bare = answer.status in {204, 304}
        # Both name themselves and the time, and the double's are the cloud's.
        self.send_response_only(answer.status)
        if "date" not in {name.lower() for name in answer.headers}:
            self.send_header("Date", self.date_time_string())
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if not bare and "Content-Length" not in answer.headers:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if not bare and self.command != "HEAD":
            self.wfile.write(answer.body)

    def _body(self, headers: Mapping[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(headers.get("content-length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _any  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing."""
