"""The spec: what a person asks for, by flags or in a file.

What is asked stays apart from what is decided: `decide` fills the gaps, so that a value nobody
asked for keeps what the first deploy decided, whatever a newer kit would choose.
"""

import ipaddress
import os
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import psutil
import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo

from trackstack import names
from trackstack.errors import UsageError, printable

Asked = dict[str, Any]
"""What was asked: nested as in the file, only with the keys that were said."""

LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"  # noqa: S104  a value to recognise; asked for, never a default

EnvironmentName = Annotated[str, AfterValidator(names.environment)]
UserName = Annotated[str, AfterValidator(names.user)]
Port = Annotated[int, Field(ge=1024, le=65535)]
Workers = Annotated[int, Field(ge=1, le=64)]
Address = Annotated[str, AfterValidator(names.address)]
Hostname = Annotated[str, AfterValidator(names.host)]
Network = Annotated[str, AfterValidator(names.network)]
PemFile = Annotated[str, AfterValidator(names.pem_file)]
Database = Annotated[str, AfterValidator(names.database)]
Artifacts = Annotated[str, AfterValidator(names.artifacts)]
Endpoint = Annotated[str, AfterValidator(names.endpoint)]
Package = Annotated[str, AfterValidator(names.requirement)]
MlflowVersion = Annotated[str, StringConstraints(pattern=r"^3\.[0-9]+\.[0-9]+$")]

_RIGHT = {
    "environment": "a name, such as 'team-a'",
    "port": "a whole number from 1024 to 65535, such as 8080",
    "workers": "a whole number from 1 to 64, such as 2",
    "mlflow": "a version of MLflow 3, in quotes, such as '3.17.2'",
    "users": "a list of names, such as [ada, grace]",
    "protected": "true or false",
    "at_login": "true or false",
    "target": "'local'",
    "server": "a group of keys such as port and workers",
    "stores": "a group of keys such as database and artifacts",
    "database": "an address such as 'postgresql://user@host:5432/name'",
    "artifacts": "a bucket such as 's3://bucket/folder'",
    "artifacts_endpoint": "an address such as 'https://s3.example.com'",
    "extra_packages": "a list of packages, such as [boto3]",
    "listen": "an IPv4 address, such as '127.0.0.1'",
    "hostnames": "a list of names, such as [mlflow.example.com]",
    "tls": "own, files or upstream",
    "certificate": "the path of a PEM file",
    "key": "the path of a PEM file",
    "trusted_proxies": "a list of networks, such as [10.0.0.0/24]",
}

_EACH = {
    "users": "a name, such as ada",
    "hostnames": "a name, such as mlflow.example.com",
    "trusted_proxies": "a network, such as 10.0.0.0/24",
    "extra_packages": "a package, such as boto3",
}
"""What one of a list should be."""

_GOES_WITH_TLS = {"certificate": "files", "key": "files", "trusted_proxies": "upstream"}


_MOST_BYTES = 64 * 1024
_MOST_REFERENCES = 10
_MOST_TOLD = 8
"""How many problems of a spec are told at once."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class Server(_Strict):
    """The tracking server itself."""

    listen: Address = LOOPBACK
    port: Port
    hostnames: list[Hostname] = []
    tls: Literal["own", "files", "upstream"] = "own"
    certificate: PemFile | None = None
    key: PemFile | None = None
    trusted_proxies: list[Network] = []
    workers: Workers
    mlflow: MlflowVersion
    extra_packages: list[Package] = []

    @property
    def beyond_loopback(self) -> bool:
        """Whether other computers can reach it."""
        return not ipaddress.ip_address(self.listen).is_loopback

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.listen == EVERYWHERE and not self.hostnames:
            raise ValueError(
                "with listen 0.0.0.0 say in hostnames by which names or addresses clients call it"
            )
        if (self.tls == "files") != bool(self.certificate and self.key):
            raise ValueError("certificate and key go with tls: files, and tls: files with both")
        if (self.tls == "upstream") != bool(self.trusted_proxies):
            raise ValueError(
                "trusted_proxies goes with tls: upstream, and tls: upstream with trusted_proxies"
            )
        if self.tls != "own" and not self.hostnames:
            raise ValueError(f"tls: {self.tls} needs in hostnames the names clients use")
        own = [name for name in self.hostnames if name == "localhost" or name.startswith("127.")]
        if own and self.beyond_loopback:
            raise ValueError(f"{own[0]} in hostnames is what every computer calls itself")
        if self.tls == "files" and not self.beyond_loopback:
            raise ValueError("tls: files needs in listen an address beyond this computer")
        return self


class Stores(_Strict):
    """Where runs and artifacts are kept, when not in the machine's own folder."""

    database: Database | None = None
    artifacts: Artifacts | None = None
    artifacts_endpoint: Endpoint | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.artifacts_endpoint and not self.artifacts:
            raise ValueError("artifacts_endpoint goes with artifacts: say which bucket too")
        return self


class Spec(_Strict):
    """One environment, with every value decided."""

    target: Literal["local"]
    environment: EnvironmentName
    server: Server
    stores: Stores = Stores()
    users: Annotated[list[UserName], Field(min_length=1)]
    protected: bool
    at_login: bool = False


def defaults(target: str, environment: str, account: str, mlflow: str) -> Asked:
    """What a first deploy decides where nothing was asked, on this computer."""
    return {
        "target": target,
        "environment": environment,
        "server": {
            "listen": LOOPBACK,
            "port": 8080,
            "hostnames": [],
            "tls": "own",
            "certificate": None,
            "key": None,
            "trusted_proxies": [],
            "workers": default_workers(),
            "mlflow": mlflow,
            "extra_packages": [],
        },
        "stores": {"database": None, "artifacts": None, "artifacts_endpoint": None},
        "users": [names.user_from_account(account)],
        "protected": False,
        "at_login": False,
    }


def default_workers(cores: int | None = None, memory: int | None = None) -> int:
    """How many MLflow workers fit: one a core, at most 4, of 480 MB for one and 280 each more.

    Args:
        cores: processors; this computer's when None.
        memory: bytes; this computer's when None.
    """
    cores = cores or os.cpu_count() or 1
    memory = memory or psutil.virtual_memory().total
    # Half of the memory is left to everything else.
    fitting = 1 + int((memory / 2 - 480e6) // 280e6)
    return max(1, min(4, cores, fitting))


def load(path: Path) -> Asked:
    """Read a spec file.

    Raises:
        UsageError: it cannot be read, is not YAML, or asks for what there is not; the sentence
            names the key, the value and what would be right.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise UsageError(f"The spec {path} is larger than {_MOST_BYTES:,} bytes.")
        content = yaml.load(data.decode(), _Loader)  # noqa: S506  a safe one
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"The spec {path} cannot be read: {reason}.") from error
    # The last three: what PyYAML runs into at a value that does not fit its tag, as in !!int ''.
    except (
        yaml.YAMLError,
        ValueError,
        RecursionError,
        LookupError,
        TypeError,
        AttributeError,
    ) as error:
        place = getattr(error, "problem_mark", None)
        line = f" at line {place.line + 1}" if place else ""
        parts = [getattr(error, name, None) for name in ("context", "problem", "reason")]
        problem = ", ".join(str(part) for part in parts if part) or "it cannot be read"
        raise UsageError(f"The spec {path} is not YAML{line}: {problem}.") from error
    if content is None:
        content = {}
    if not isinstance(content, dict) or not all(
        isinstance(key, str) and key.isprintable() for key in content
    ):
        raise UsageError(
            f"The spec {path} should be keys and values, such as 'target: local'.",
            "examples/local.yaml shows every key.",
        )
    filler = defaults("local", "local", "ada", "3.0.0")
    validate(merged(filler, content), f"The spec {path}")
    return content


def validate(content: Asked, source: str) -> Spec:
    """Check a whole spec.

    Args:
        content: with every key.
        source: what to call it in an error, such as 'The spec team.yaml'.

    Raises:
        UsageError: names each wrong key, its value and what would be right.
    """
    try:
        return Spec.model_validate(content)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        told = [_explain(problem["type"], problem["loc"], problem["input"], problem["msg"])
                for problem in problems[:_MOST_TOLD]]  # fmt: skip
        if len(problems) > _MOST_TOLD:
            told.append(f"and {len(problems) - _MOST_TOLD} more")
        raise UsageError(f"{source}: {'; '.join(told)}.") from error


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> Asked:
    """Two nested mappings as one, where the one above wins."""
    result = dict(below)
    for key, value in above.items():
        base = result.get(key)
        both = isinstance(base, dict) and isinstance(value, dict)
        result[key] = merged(dict(base or {}), value) if both else value
    return result


def without_other_tls(below: Asked, flags: Asked) -> Asked:
    """What was asked before, but for keys that only go with another `tls` than flags now ask for.

    Else no flag could take them back: `--tls own` after `--tls files` would be refused for the
    certificate.
    """
    wanted = flags.get("server", {}).get("tls")
    if wanted is None or "server" not in below:
        return below
    kept = {
        key: value
        for key, value in below["server"].items()
        if _GOES_WITH_TLS.get(key, wanted) == wanted
    }
    return {**below, "server": kept}


def decide(asked: Asked, recorded: Asked, decided: Asked, fallback: Asked) -> Asked:
    """Fill in what nobody asks for.

    A key that nobody asked for, then as now, keeps what was decided; one that had been asked
    for and is no longer goes back to the default.

    Args:
        asked: now.
        recorded: asked at the last deploy; empty before the first.
        decided: with every key, at the last deploy; empty before the first.
        fallback: the defaults, with every key.
    """
    result: Asked = {}
    for key, default in fallback.items():
        if isinstance(default, dict):
            result[key] = decide(
                asked.get(key, {}), recorded.get(key, {}), decided.get(key, {}), default
            )
        elif key in asked:
            result[key] = asked[key]
        elif key in decided and key not in recorded:
            result[key] = decided[key]
        else:
            result[key] = default
    return result


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would quietly take the last.

    And more references than a spec needs: a few, each to several of those before, stand for more
    than any computer can hold.
    """

    references = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            self.references += 1
            if self.references > _MOST_REFERENCES:
                raise yaml.composer.ComposerError(
                    problem=f"there are more than {_MOST_REFERENCES} references",
                    problem_mark=self.peek_event().start_mark,  # type: ignore[no-untyped-call]
                )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        problem=f"the key {key.value!r} stands there twice",
                        problem_mark=key.start_mark,
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _explain(kind: str, place: tuple[int | str, ...], value: object, message: str) -> str:
    key = printable(".".join(str(part) for part in place))
    last = next((part for part in reversed(place) if isinstance(part, str)), "")
    if kind in ("extra_forbidden", "invalid_key"):
        known = _keys_beside(place)
        near = names.nearest(last, known)
        for group, model in (("server", Server), ("stores", Stores)):
            if near is None and last in model.model_fields:
                near = f"{group}.{last}"
        way_out = f"did you mean {near!r}?" if near else f"known are {', '.join(known)}"
        return f"{key} is not a key of the spec ({way_out})"
    if kind == "value_error":
        return f"{key}: {message.removeprefix('Value error, ')}"
    of_a_list = bool(place) and isinstance(place[-1], int)
    right = (_EACH if of_a_list else _RIGHT).get(last, message)
    return f"{key} is {_as_written(value)} and should be {right}"


def _as_written(value: object) -> str:
    """A value as it would stand in the file, not as Python has it, and not without end."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    short = reprlib.Repr()
    short.maxstring = short.maxlong = short.maxother = 100
    try:
        return short.repr(value)
    except ValueError:  # Python writes out no number of more than 4,300 digits
        return "a number too large"


def _keys_beside(place: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Spec
    for part in place[:-1]:
        field: FieldInfo | None = model.model_fields.get(str(part))
        if field is None or get_args(field.annotation):
            return []
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            model = field.annotation
    return list(model.model_fields)
