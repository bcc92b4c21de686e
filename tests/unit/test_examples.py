"""The annotated specs in examples/ are the reference of the spec: they load, and lack nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from trackstack import lock, spec
from trackstack.environment import Environment
from trackstack.operations.plan import intend

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
LOCAL = next(file for file in EXAMPLES if file.name == "local.yaml")


def keys(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    for name, about in model.model_fields.items():
        inner = about.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from ((name, *rest) for rest in keys(inner))
        else:
            yield (name,)


def value(content: dict[str, Any], path: tuple[str, ...]) -> object:
    for key in path:
        assert key in content, f"{'.'.join(path)} does not stand in the reference"
        content = content[key]
    return content


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_an_example_can_be_deployed_as_it_stands(file: Path) -> None:
    asked = spec.load(file)
    intent = intend(Environment(asked["environment"]), asked["target"], {}, file)
    assert intent.plan.environment == asked["environment"]


KEYS = [
    (f"{target}.yaml", path)
    for target, model in (
        ("local", spec.LocalSpec),
        ("compose", spec.ComposeSpec),
        ("aws", spec.AwsSpec),
        ("gcp", spec.GcpSpec),
    )
    for path in keys(model)
]


@pytest.mark.parametrize(("name", "path"), KEYS, ids=lambda at: ".".join(at) if at else "")
def test_the_reference_holds_every_key_with_a_word_on_it(name: str, path: tuple[str, ...]) -> None:
    file = LOCAL.with_name(name)
    value(spec.load(file), path)
    lines = file.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.strip().startswith(f"{path[-1]}:"))
    assert lines[at - 1].strip().startswith("#"), f"nothing is said about {'.'.join(path)}"


def test_the_reference_asks_for_the_defaults_where_they_are_the_same_on_every_computer() -> None:
    asked = spec.load(LOCAL)
    decided = spec.defaults("local", "local", "ada", lock.DEFAULT_MLFLOW)
    elsewhere = {("server", "workers"): 2}
    for path in keys(spec.LocalSpec):
        assert value(asked, path) == elsewhere.get(path, value(decided, path)), ".".join(path)
