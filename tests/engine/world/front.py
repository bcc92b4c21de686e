"""The address that clients of AWS talk to: decides who may, answers, or passes on to moto.

moto keeps buckets and parameters. What AWS does and moto does not is done here: it looks at who
signed, at policies with their resources and conditions, at the owner of a bucket, and it does not
tell whether an object is missing to whom may not list. Every request is written down.
"""

import http.client
import http.server
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from engine.world import policies
from engine.world.identities import Identities, Identity
from engine.world.policies import Statement
from engine.world.requests import Asked, Request, read
from engine.world.serving import Secured, serving_front

Answer = tuple[int, Mapping[str, str], bytes]

ADDRESS_PAGE = "/-/address"
"""Answers with the caller's address, as https://checkip.amazonaws.com does."""

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "server", "date"}
_UNWRITTEN = {"sts:GetCallerIdentity"}
"""What needs no permission."""
_MOST_SKEW = timedelta(minutes=15)
"""https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html"""


class Says(Exception):  # noqa: N818  what the cloud answers, not a fault of the double
    """A refusal.

    Attributes:
        code: such as 'AccessDenied'.
    """

    def __init__(self, code: str, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.code, self.sentence, self.status = code, sentence, status


@dataclass(frozen=True)
class Call:
    """One request, as it was answered.

    Attributes:
        who: the caller's ARN.
        actions: what IAM had to permit, each with its resource.
        status: of the answer.
        refused: the code of a refusal that is not about what is stored; else empty.
        at: when it was answered, by the monotonic clock.
    """

    who: str
    service: str
    operation: str
    actions: tuple[tuple[str, str], ...]
    parameters: Mapping[str, Any]
    status: int
    refused: str
    at: float


@dataclass
class Front:
    """What the address knows.

    Attributes:
        url: where it answers.
        moto: host and port of moto.
        owners: of buckets that are of another account.
        bucket_policy: what a bucket's own policy says.
        answers: how an operation is answered here, by service and operation; None: by moto.
        calls: all requests, in the order of their answers.
        listeners: told of each request that was done, and its answer waits for them.
    """

    account: str
    region: str
    moto: str
    identities: Identities
    url: str = ""
    owners: dict[str, str] = field(default_factory=dict)
    bucket_policy: Callable[[str], list[Statement]] = lambda _: []
    answers: dict[tuple[str, str], Callable[[Asked, Identity], Mapping[str, Any] | None]] = field(
        default_factory=dict
    )
    calls: list[Call] = field(default_factory=list)
    listeners: list[Callable[[Call], None]] = field(default_factory=list)

    def calls_of(self, arn: str) -> list[Call]:
        """The calls of whom an ARN names in part, such as a role's name."""
        return [call for call in list(self.calls) if arn in call.who]

    def may(self, identity: Identity, action: str, resource: str) -> bool:
        """Whether the policies of the caller, and of the bucket, permit it."""
        context = {
            "aws:RequestedRegion": self.region,
            # The doubles speak no TLS, where AWS does.
            "aws:SecureTransport": "true",
        }
        said = list(identity.policies())
        if action.startswith("s3:"):
            bucket = resource.removeprefix("arn:aws:s3:::").partition("/")[0]
            # Of the same account, a policy of the bucket can allow too; the kit's only deny.
            said += [each for each in self.bucket_policy(bucket) if each["Effect"] == "Deny"]
        return policies.permits(said, action, resource, context)

    def answer(self, request: Request) -> Answer:
        """Answer one request, and write it down."""
        if not request.authorization:
            return 403, {}, b"<Error><Code>AccessDenied</Code><Message>unsigned</Message></Error>"
        plain = request.by_path()
        asked = read(plain)
        identity = self.identities.of(request.scope[0])
        actions, refused = list(asked.permissions(self.account)), ""
        try:
            known = _known(identity, asked, request)
            self._let_in(known, asked, actions)
            answer = self._answer_to(known, asked, plain)
            missing = answer[0] == 404 and asked.operation in {"GetObject", "HeadObject"}
            if missing:
                listing = ("s3:ListBucket", f"arn:aws:s3:::{asked.parameters['Bucket']}")
                self._let_in(known, asked, [listing])
                actions.append(listing)
        except Says as said:
            answer = asked.error(said.code, said.sentence, said.status)
            refused = said.code
        call = Call(
            who=identity.arn if identity else "",
            service=asked.service,
            operation=asked.operation,
            actions=tuple(actions),
            parameters=asked.parameters,
            status=answer[0],
            refused=refused,
            at=time.monotonic(),
        )
        self.calls.append(call)
        for tell in list(self.listeners):
            tell(call)
        return answer

    def _let_in(self, identity: Identity, asked: Asked, actions: Iterable[tuple[str, str]]) -> None:
        for action, resource in actions:
            if action not in _UNWRITTEN and not self.may(identity, action, resource):
                raise _denied(identity, asked, action, resource)

    def _answer_to(self, identity: Identity, asked: Asked, request: Request) -> Answer:
        bucket = str(asked.parameters.get("Bucket", "")) if asked.service == "s3" else ""
        owner = self.owners.get(bucket, self.account)
        wanted = request.headers.get("x-amz-expected-bucket-owner", owner)
        if owner != self.account and asked.operation == "CreateBucket":
            raise Says("BucketAlreadyExists", "The requested bucket name is taken.", 409)
        if bucket and asked.region != self.region:
            # https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
            sentence = f"The region '{asked.region}' is wrong; expecting '{self.region}'"
            raise Says("AuthorizationHeaderMalformed", sentence)
        if bucket and (owner != self.account or wanted != owner):
            raise Says("AccessDenied", "Access Denied", 403)
        here = self.answers.get((asked.service, asked.operation))
        content = here(asked, identity) if here else None
        if content is not None:
            return asked.answer(content)
        return self.passed_on(request)

    def passed_on(self, request: Request) -> Answer:
        """What moto answers."""
        kept = {k: v for k, v in request.headers.items() if k not in _HOP_BY_HOP | {"expect"}}
        connection = http.client.HTTPConnection(self.moto, timeout=60)
        try:
            connection.request(request.method, request.path, request.body or None, kept)
            got = connection.getresponse()
            content = got.read()
        finally:
            connection.close()
        told = {k: v for k, v in got.getheaders() if k.lower() not in _HOP_BY_HOP}
        if request.method == "HEAD" and (size := got.getheader("Content-Length")):
            told["Content-Length"] = size
        return got.status, told, content


def _known(identity: Identity | None, asked: Asked, request: Request) -> Identity:
    """The caller, when the keys are right and still good."""
    if identity is None:
        code = {"rest-xml": "InvalidAccessKeyId", "json": "UnrecognizedClientException"}.get(
            asked.protocol, "InvalidClientTokenId"
        )
        code = "AuthFailure" if asked.protocol == "ec2" else code
        raise Says(code, "The security token included in the request is invalid.", 403)
    if identity.expired:
        code = {"json": "ExpiredTokenException", "ec2": "RequestExpired"}.get(
            asked.protocol, "ExpiredToken"
        )
        raise Says(code, "The security token included in the request is expired")
    token = request.headers.get("x-amz-security-token")
    if token != identity.token or not identity.signed(request):
        sentence = "The request signature we calculated does not match the one you provided."
        raise Says("SignatureDoesNotMatch", sentence, 403)
    signed = datetime.strptime(request.headers["x-amz-date"], "%Y%m%dT%H%M%S%z")
    if abs(datetime.now(UTC) - signed) > _MOST_SKEW:
        # https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
        code = {"rest-xml": "RequestTimeTooSkewed", "json": "InvalidSignatureException"}.get(
            asked.protocol, "SignatureDoesNotMatch"
        )
        sentence = "The difference between the request time and the current time is too large."
        raise Says(code, sentence, 403)
    return identity


def _denied(identity: Identity, asked: Asked, action: str, resource: str) -> Says:
    code = {"ec2": "UnauthorizedOperation", "json": "AccessDeniedException"}.get(
        asked.protocol, "AccessDenied"
    )
    sentence = f"User: {identity.arn} is not authorized to perform: {action} on {resource}"
    return Says(code, sentence, 400 if asked.protocol == "json" else 403)


@contextmanager
def answering(front: Front, address: str, secured: Secured | None) -> Iterator[Front]:
    """Let it answer at an address of this computer, and where else it is secured."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # An answer is one packet, and waits for no other.
        wbufsize = -1
        disable_nagle_algorithm = True

        def handle_expect_100(self) -> bool:
            # Left in the buffer, it lets a client wait a second at each upload.
            go_on = super().handle_expect_100()
            self.wfile.flush()
            return go_on

        def _any(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self._body(headers)
            if urlsplit(self.path).path == ADDRESS_PAGE:
                status, told, content = 200, {}, f"{self.client_address[0]}\n".encode()
            else:
                request = Request(self.command, self.path, headers, body)
                status, told, content = front.answer(request)
            self.send_response(status)
            for name, value in told.items():
                self.send_header(name, value)
            if "Content-Length" not in told and status not in {204, 304}:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if status not in {204, 304} and self.command != "HEAD":
                self.wfile.write(content)

        def _body(self, headers: Mapping[str, str]) -> bytes:
            if headers.get("transfer-encoding", "").lower() == "chunked":
                parts = []
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)
            return self.rfile.read(int(headers.get("content-length") or 0))

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _any  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with serving_front(address, Handler, secured) as port:
        front.url = f"http://{address}:{port}"
        yield front
