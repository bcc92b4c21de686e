"""The spec: what a person asks for, by flags or in a file.

What is asked stays apart from what is decided: `decide` fills the gaps, so that a value nobody
asked for keeps what the first deploy decided, whatever a newer kit would choose.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import psutil
import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)
from pydantic.fields import FieldInfo

from trackstack import names
from trackstack.errors import UsageError

Asked = dict[str, Any]
"""What was asked: nested as in the file, only with the keys that were said."""

EnvironmentName = Annotated[str, AfterValidator(names.environment)]
UserName = Annotated[str, AfterValidator(names.user)]
Port = Annotated[int, Field(ge=1024, le=65535)]
Workers = Annotated[int, Field(ge=1, le=64)]
MlflowVersion = Annotated[str, StringConstraints(pattern=r"^3\.[0-9]+\.[0-9]+$")]

_RIGHT = {
    "environment": "a name, such as 'team-a'",
    "port": "a whole number from 1024 to 65535, such as 8080",
    "workers": "a whole number from 1 to 64, such as 2",
    "mlflow": "a version of MLflow 3, in quotes, such as '3.17.2'",
    "users": "a list of names, such as [ada, grace]",
    "protected": "true or false",
    "target": "'local'",
    "server": "a group of keys: port, workers, mlflow",
}


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Server(_Strict):
    """The tracking server itself."""

    port: Port
    workers: Workers
    mlflow: MlflowVersion


class Spec(_Strict):
    """One environment, with every value decided."""

    target: Literal["local"]
    environment: EnvironmentName
    server: Server
    users: Annotated[list[UserName], Field(min_length=1)]
    protected: bool


def defaults(target: str, environment: str, account: str, mlflow: str) -> Asked:
    """What a first deploy decides where nothing was asked, on this computer."""
    return {
        "target": target,
        "environment": environment,
        "server": {"port": 8080, "workers": default_workers(), "mlflow": mlflow},
        "users": [names.user_from_account(account)],
        "protected": False,
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
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506  a safe one
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"The spec {path} cannot be read: {reason}.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        place = getattr(error, "problem_mark", None)
        line = f" at line {place.line + 1}" if place else ""
        parts = [getattr(error, name, None) for name in ("context", "problem", "reason")]
        problem = ", ".join(str(part) for part in parts if part) or "it cannot be read"
        raise UsageError(f"The spec {path} is not YAML{line}: {problem}.") from error
    if content is None:
        content = {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
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
        told = [_explain(problem["type"], problem["loc"], problem["input"], problem["msg"])
                for problem in error.errors(include_url=False)]  # fmt: skip
        raise UsageError(f"{source}: {'; '.join(told)}.") from error


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> Asked:
    """Two nested mappings as one, where the one above wins."""
    result = dict(below)
    for key, value in above.items():
        base = result.get(key)
        both = isinstance(base, dict) and isinstance(value, dict)
        result[key] = merged(dict(base or {}), value) if both else value
    return result


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
    """Refuses a key that stands twice, of which YAML would quietly take the last."""

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
    key = ".".join(str(part) for part in place)
    last = next((part for part in reversed(place) if isinstance(part, str)), "")
    if kind in ("extra_forbidden", "invalid_key"):
        known = _keys_beside(place)
        near = names.nearest(last, known)
        if near is None and last in Server.model_fields:
            near = f"server.{last}"
        way_out = f"did you mean {near!r}?" if near else f"known are {', '.join(known)}"
        return f"{key} is not a key of the spec ({way_out})"
    if kind == "value_error":
        return f"{key}: {message.removeprefix('Value error, ')}"
    right = "a name, such as ada" if isinstance(place[-1], int) else _RIGHT.get(last, message)
    return f"{key} is {_as_written(value)} and should be {right}"


def _as_written(value: object) -> str:
    """A value as it would stand in the file, not as Python has it."""
    if value is None:
        return "empty"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _keys_beside(place: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Spec
    for part in place[:-1]:
        field: FieldInfo | None = model.model_fields.get(str(part))
        if field is None or get_args(field.annotation):
            return []
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            model = field.annotation
    return list(model.model_fields)
