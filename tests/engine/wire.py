"""Values as providers and the engine send them: secrets and unknown values come marked.

https://pulumi-developer-docs.readthedocs.io/latest/docs/architecture/deployment-execution/provider-implementers-guide.html
"""

from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf import json_format, struct_pb2

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
_MARK = "4dabf18193072939515e22adb298388d"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"


def read(struct: struct_pb2.Struct) -> dict[str, Any]:
    """What was sent, marks and all; whole numbers as such."""
    return _numbers(json_format.MessageToDict(struct))


def write(content: Mapping[str, Any]) -> struct_pb2.Struct:
    made = struct_pb2.Struct()
    made.update(content)
    return made


def plain(value: Any) -> Any:
    """A value without the marks of its secrets; an encrypted one is None."""
    if isinstance(value, dict):
        return (
            plain(value.get("value"))
            if value.get(_MARK) == _SECRET
            else {key: plain(v) for key, v in value.items()}
        )
    return [plain(v) for v in value] if isinstance(value, list) else value


def is_secret(value: Any) -> bool:
    return isinstance(value, dict) and value.get(_MARK) == _SECRET


def is_known(value: Any) -> bool:
    """Whether nothing in a value is still to be found out."""
    if isinstance(value, dict):
        return all(map(is_known, value.values()))
    return all(map(is_known, value)) if isinstance(value, list) else value != UNKNOWN


def texts(value: Any) -> Iterator[str]:
    """Every text in a value."""
    if isinstance(value, dict):
        for each in value.values():
            yield from texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)
    elif isinstance(value, str):
        yield value


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _numbers(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_numbers(v) for v in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
