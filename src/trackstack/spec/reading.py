"""Reads a spec file, and says what is wrong with it in the file's own words."""

import reprlib
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from trackstack import names
from trackstack.errors import UsageError, printable
from trackstack.spec import cloud, compose, local
from trackstack.spec.cloud import AwsSpec, GcpSpec
from trackstack.spec.compose import ComposeSpec
from trackstack.spec.deciding import merged
from trackstack.spec.kinds import EACH, RIGHT, Asked
from trackstack.spec.local import LocalSpec

Spec = LocalSpec | ComposeSpec | AwsSpec | GcpSpec
"""One environment, with every value decided."""

_MODELS: dict[str, type[LocalSpec] | type[ComposeSpec] | type[AwsSpec] | type[GcpSpec]] = {
    "local": LocalSpec,
    "compose": ComposeSpec,
    "aws": AwsSpec,
    "gcp": GcpSpec,
}

_MOST_BYTES = 64 * 1024
_MOST_REFERENCES = 10
_MOST_TOLD = 8
"""How many problems of a spec are told at once."""


def defaults(target: str, environment: str, account: str, mlflow: str) -> Asked:
    """What a first deploy decides where nothing was asked; None where the target has to look.

    Args:
        target: where it will run.
        environment: its name.
        account: of the person, on this computer.
        mlflow: the version for new environments.
    """
    made = {"local": local.defaults, "compose": compose.defaults, **cloud.DEFAULTS}
    return made[target](environment, account, mlflow)


def load(path: Path, target: str = "local") -> Asked:
    """Read a spec file.

    Args:
        path: the file.
        target: what it is for when it does not say.

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
    said = content.get("target", target)
    target = said if isinstance(said, str) and said in _MODELS else "local"
    filler = merged(defaults(target, target, "ada", "3.0.0"), cloud.EXAMPLES.get(target, {}))
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
    model = _MODELS.get(str(content["target"]), LocalSpec)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        told = [_explain(model, problem["type"], problem["loc"], problem["input"], problem["msg"])
                for problem in problems[:_MOST_TOLD]]  # fmt: skip
        if len(problems) > _MOST_TOLD:
            told.append(f"and {len(problems) - _MOST_TOLD} more")
        raise UsageError(f"{source}: {'; '.join(told)}.") from error


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


def _explain(
    model: type[BaseModel], kind: str, place: tuple[int | str, ...], value: object, message: str
) -> str:
    key = printable(".".join(str(part) for part in place))
    last = next((part for part in reversed(place) if isinstance(part, str)), "")
    if kind in ("extra_forbidden", "invalid_key"):
        known = _keys_beside(model, place)
        near = names.nearest(last, known)
        for group, about in model.model_fields.items():
            inside = _group(about)
            if near is None and inside is not None and last in inside.model_fields:
                near = f"{group}.{last}"
        way_out = f"did you mean {near!r}?" if near else f"known are {', '.join(known)}"
        return f"{key} is not a key of the spec ({way_out})"
    if kind == "value_error":
        said = message.removeprefix("Value error, ")
        return f"{key}: {said}" if key else said  # of several keys together
    of_a_list = bool(place) and isinstance(place[-1], int)
    right = (EACH if of_a_list else RIGHT).get(last, message)
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


def _keys_beside(model: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    for part in place[:-1]:
        inside = _group(model.model_fields.get(str(part)))
        if inside is None:
            return []
        model = inside
    return list(model.model_fields)


def _group(field: FieldInfo | None) -> type[BaseModel] | None:
    """The model of a key that is a group of keys, whether or not the group may be left empty."""
    kinds = (field.annotation, *get_args(field.annotation)) if field else ()
    return next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)
