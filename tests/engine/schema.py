"""What a resource may be told, read from the SDK's own classes: names, required ones, kinds."""

import importlib
import re
import typing
from collections.abc import Iterator
from functools import cache
from inspect import Parameter, signature
from typing import Any

from pulumi import _types

from engine import wire

_KINDS: dict[str, tuple[type, ...]] = {
    "Sequence": (list,),
    "Mapping": (dict,),
    "Args": (dict,),
    "str": (str,),
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
}
Problem = tuple[str, str]
"""A property's path, and what is wrong with it."""


def resource_class(token: str) -> type:
    """The SDK's class of a type such as 'aws:ec2/vpc:Vpc'."""
    package, module, name = token.split(":")
    return getattr(importlib.import_module(f"pulumi_{package}.{module.split('/')[0]}"), name)


def outputs(token: str) -> set[str]:
    """The names of all that a resource of this type tells."""
    return set(_types.resource_py_to_pulumi_names(resource_class(token)).values())


def problems(token: str, inputs: dict[str, Any]) -> Iterator[Problem]:
    """What is wrong with a resource's inputs by names, required ones and kinds alone."""
    yield from _problems(_args_class(token), inputs, "")


@cache
def _args_class(token: str) -> type:
    constructor = resource_class(token).__init__  # type: ignore[misc]
    for overload in typing.get_overloads(constructor):
        annotation = overload.__annotations__.get("args")
        if annotation is not None:
            return next(
                part
                for part in (annotation, *typing.get_args(annotation))
                if isinstance(part, type)
            )
    raise LookupError(f"{token} has no class of arguments")


@cache
def _properties(args: type) -> dict[str, tuple[bool, str, type | None]]:
    """By name: whether it is required, its kind, and the class of what is nested in it."""
    parameters = signature(args.__init__).parameters  # type: ignore[misc]
    found = {}
    for python_name, name, prop in _types._py_properties(args):
        annotation = str(prop.fget.__annotations__["return"])  # type: ignore[union-attr]
        nested = re.search(r"\b(\w+Args)\b", annotation)
        kind = re.search(r"\b(Sequence|Mapping|Args|str|bool|int|float)\b|Args\b", annotation)
        assert kind, f"{args.__name__}.{name} is of no known kind: {annotation}"
        found[name] = (
            parameters[python_name].default is Parameter.empty,
            kind[1] or "Args",
            _nested(args, nested[1]) if nested else None,
        )
    return found


def _nested(args: type, name: str) -> type:
    package = ".".join(args.__module__.split(".")[:2])
    return getattr(importlib.import_module(f"{package}._inputs"), name)


def _problems(args: type, inputs: dict[str, Any], place: str) -> Iterator[Problem]:
    known = _properties(args)
    for name in sorted(known.keys() - inputs.keys()):
        if known[name][0]:
            yield place + name, "is required and missing"
    for name, value in inputs.items():
        if name.startswith("__"):
            continue
        if name not in known:
            yield place + name, "is no property of this type"
            continue
        if value == wire.UNKNOWN:
            continue
        _, kind, nested = known[name]
        if not isinstance(value, _KINDS[kind]) or (kind == "int" and isinstance(value, bool)):
            yield place + name, f"should be of kind {kind} and is {value!r}"
        elif nested:
            several = value if isinstance(value, list) else [value]
            for number, each in enumerate(several):
                if isinstance(each, dict):
                    yield from _problems(nested, each, f"{place}{name}[{number}].")
