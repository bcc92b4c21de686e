"""What a request to AWS asks for, and how its answer is written: by Amazon's own service models.

moto brings what reads requests and writes answers; this names the operation and what IAM calls it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from moto.core.model import OperationModel, ServiceModel
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import determine_request_protocol
from moto.core.serialize import get_serializer_class
from moto.core.utils import get_service_model
from werkzeug.datastructures import Headers, MultiDict

SERVICES = {"tagging": "resourcegroupstaggingapi"}
"""Services whose name in a signature is not the client's."""

_IAM_SERVICES = {"tagging": "tag"}

_OTHERS = {"GetBucketLifecycle", "ListDirectoryBuckets", "PutBucketLifecycle"}
"""Outdated, or of another kind of bucket: they look like another operation."""

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
_S3_ACTIONS = {
    "CompleteMultipartUpload": "PutObject",
    "CopyObject": "PutObject",
    "CreateMultipartUpload": "PutObject",
    "DeleteObjects": "DeleteObject",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "HeadBucket": "ListBucket",
    "HeadObject": "GetObject",
    "ListBuckets": "ListAllMyBuckets",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "ListObjectVersions": "ListBucketVersions",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "ListParts": "ListMultipartUploadParts",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "UploadPart": "PutObject",
    "UploadPartCopy": "PutObject",
}


@dataclass(frozen=True)
class Request:
    """One request, as it came.

    Attributes:
        path: with the query, and still escaped.
        headers: by their names in small letters.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def url(self) -> str:
        return f"http://{self.headers['host']}{self.path}"

    def by_path(self) -> "Request":
        """The same, with the bucket in the path where the host names it.

        https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
        """
        found = re.match(r"(.+)\.(s3\.[a-z0-9-]+\.amazonaws\.com)$", self.headers["host"])
        if found is None:
            return self
        headers = {**self.headers, "host": found[2]}
        return Request(self.method, f"/{found[1]}{self.path}", headers, self.body)

    @property
    def authorization(self) -> dict[str, str]:
        """The fields of a signature; none when there is no signature."""
        kind, _, fields = self.headers.get("authorization", "").partition(" ")
        pairs = (field.partition("=") for field in fields.split(","))
        return (
            {name.strip(): value for name, _, value in pairs} if kind == "AWS4-HMAC-SHA256" else {}
        )

    @property
    def scope(self) -> tuple[str, str, str]:
        """The key, the region and the service that it was signed for."""
        key, _, region, service, _ = self.authorization["Credential"].split("/")
        return key, region, service


@dataclass(frozen=True)
class Asked:
    """One request, understood.

    Attributes:
        service: as in signatures, such as 's3' or 'tagging'.
        parameters: as a client gives them.
    """

    service: str
    region: str
    operation: str
    parameters: Mapping[str, Any]
    model: OperationModel
    protocol: str

    def permissions(self, account: str) -> Iterator[tuple[str, str]]:
        """Each action that IAM must permit, with the resource it is done to."""
        if self.service == "s3":
            yield from self._s3_permissions()
            return
        service = _IAM_SERVICES.get(self.service, self.service)
        yield f"{service}:{self.operation}", self._resource(account)

    def _s3_permissions(self) -> Iterator[tuple[str, str]]:
        action = f"s3:{_S3_ACTIONS.get(self.operation, self.operation)}"
        if "Bucket" not in self.parameters:
            yield action, "*"
            return
        bucket = f"arn:aws:s3:::{self.parameters['Bucket']}"
        if self.operation == "DeleteObjects":
            for each in self.parameters["Delete"]["Objects"]:
                version = "Version" if each.get("VersionId") else ""
                yield f"{action}{version}", f"{bucket}/{each['Key']}"
            return
        key = self.parameters.get("Key")
        if action in {"s3:GetObject", "s3:DeleteObject"} and self.parameters.get("VersionId"):
            action += "Version"
        yield action, f"{bucket}/{key}" if key else bucket
        if "CopySource" in self.parameters:
            source = unquote(str(self.parameters["CopySource"])).lstrip("/")
            yield "s3:GetObject", f"arn:aws:s3:::{source.partition('?')[0]}"

    def _resource(self, account: str) -> str:
        """What policies name, for the actions that they name something for."""
        if self.service == "secretsmanager":
            return str(self.parameters.get("SecretId", "*"))
        if self.service == "ssm" and "Name" in self.parameters:
            name = str(self.parameters["Name"])
            owner = "" if name.startswith("/aws/") else account
            return f"arn:aws:ssm:{self.region}:{owner}:parameter{name}"
        if self.service == "iam":
            for kind, name in (("role", "RoleName"), ("instance-profile", "InstanceProfileName")):
                if name in self.parameters:
                    return f"arn:aws:iam::{account}:{kind}/{self.parameters[name]}"
        return "*"

    def answer(self, content: Mapping[str, Any]) -> tuple[int, dict[str, str], bytes]:
        """The answer as the protocol writes it: status, headers, body."""
        if self.protocol == "json":
            body = json.dumps(content, default=lambda date: date.timestamp()).encode()
            return 200, {"Content-Type": "application/x-amz-json-1.1"}, body
        writer = get_serializer_class(self.model.service_model.service_name, self.protocol)
        written = writer(self.model).serialize(content)
        return 200, {"Content-Type": "text/xml"}, _bytes(written["body"])

    def error(self, code: str, sentence: str, status: int) -> tuple[int, dict[str, str], bytes]:
        """A refusal as the protocol writes it."""
        if self.protocol == "json":
            body = json.dumps({"__type": code, "message": sentence}).encode()
            return status, {"Content-Type": "application/x-amz-json-1.1"}, body
        inner = f"<Error><Code>{code}</Code><Message>{sentence}</Message></Error>"
        wrapped = {
            "ec2": f"<Response><Errors>{inner}</Errors><RequestID>0</RequestID></Response>",
            "query": f"<ErrorResponse>{inner}<RequestId>0</RequestId></ErrorResponse>",
            "rest-xml": inner,
        }[self.protocol]
        return status, {"Content-Type": "application/xml"}, f"{wrapped}".encode()


def read(request: Request) -> Asked:
    """What a signed request asks for."""
    _, region, service = request.scope
    model: ServiceModel = get_service_model(SERVICES.get(service, service))
    protocol = determine_request_protocol(model, request.headers.get("content-type"))
    parameters: dict[str, Any]
    if protocol == "json":
        found = model.operation_model(request.headers["x-amz-target"].rpartition(".")[2])
        parameters = json.loads(request.body or b"{}")
    elif protocol == "rest-xml":
        found = model.operation_model(_s3_operation(model, request))
        parameters = _s3_parameters(found, request)
    else:
        form = dict(parse_qsl(request.body.decode(), keep_blank_values=True))
        found = model.operation_model(form["Action"])
        parameters = _parsed(found, protocol, request)
    return Asked(service, region, str(found.name), parameters, found, protocol)


def _s3_operation(model: ServiceModel, request: Request) -> str:
    """The operation of which most is there: of its address, and of what it cannot do without."""
    path, query, headers = urlsplit(request.path).path, _query(request), request.headers
    bucket, _, key = path.strip("/").partition("/")
    found: list[tuple[int, str]] = []
    for name in set(model.operation_names) - _OTHERS:
        operation = model.operation_model(name)
        where, _, more = operation.http["requestUri"].partition("?")
        fits = operation.http["method"] == request.method
        if not fits or where.count("{") != bool(bucket) + bool(key):
            continue
        said = dict(parse_qsl(more, keep_blank_values=True))
        said.pop("x-id", None)
        shape = operation.input_shape
        needed = {
            member.serialization["name"]
            for member_name, member in (shape.members.items() if shape else ())
            if member_name in shape.required_members
            and member.serialization.get("location") in {"querystring", "header"}
        }
        if all(
            each in query and (not value or query[each] == value) for each, value in said.items()
        ) and all(each in query or each in headers for each in needed):
            found.append((len(needed | said.keys()), name))
    return max(found)[1]


def _s3_parameters(operation: OperationModel, request: Request) -> dict[str, Any]:
    bucket, _, key = unquote(urlsplit(request.path).path).lstrip("/").partition("/")
    places = {"querystring": _query(request), "header": request.headers}
    found: dict[str, Any] = {"Bucket": bucket} if bucket else {}
    found |= {"Key": key} if key else {}
    for name, member in operation.input_shape.members.items() if operation.input_shape else ():
        place = places.get(str(member.serialization.get("location")), {})
        written = str(member.serialization.get("name"))
        if written.lower() in place or written in place:
            found[name] = place.get(written, place.get(written.lower()))
    if operation.name == "DeleteObjects":
        found["Delete"] = _parsed(operation, "rest-xml", request)["Delete"]
    return found


def _query(request: Request) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(request.path).query, keep_blank_values=True))


def _parsed(operation: OperationModel, protocol: str, request: Request) -> dict[str, Any]:
    form = parse_qsl(request.body.decode(), keep_blank_values=True)
    parsed: dict[str, Any] = PROTOCOL_PARSERS[protocol](operation).parse(
        {
            "body": request.body,
            "headers": Headers(list(request.headers.items())),
            "method": request.method,
            "url_params": {},
            "url_path": urlsplit(request.path).path,
            "values": MultiDict(form),
        }
    )
    return parsed


def _bytes(body: str | bytes) -> bytes:
    return body.encode() if isinstance(body, str) else body
