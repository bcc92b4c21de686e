"""The rules for one type of resource, whatever the cloud; and checks of single values."""

import ipaddress
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from engine.cloud import Cloud
from engine.schema import Problem
from engine.wire import UNKNOWN

Inputs = dict[str, Any]
Check = Callable[[Inputs], Iterator[Problem]]


def no_checks(_: Inputs) -> Iterator[Problem]:
    return iter(())


def nothing(_cloud: Cloud, _id: str, _inputs: Inputs) -> Inputs:
    return {}


@dataclass(frozen=True)
class Kind:
    """One type of resource.

    Attributes:
        make_id: from the cloud and the inputs.
        replaces: the properties whose change makes a new one.
        needs: the properties that name other things, with the kinds these may be of.
        autoname: the property that gets a name when the program gives none.
        unique: the property that two may not have the same of.
        check: what is wrong with values that are known.
        computed: what only the cloud knows.
        blocks: whether what it names cannot be removed while it is there.
        taken: what a second one of says, such as a second route to the same place.
    """

    make_id: Callable[[Cloud, Inputs], str]
    replaces: Sequence[str] = ()
    needs: tuple[tuple[str, str], ...] = ()
    autoname: str | None = None
    unique: str | None = None
    check: Check = no_checks
    computed: Callable[[Cloud, str, Inputs], Inputs] = nothing
    blocks: bool = True
    refuse_create: Callable[[Cloud, Inputs], None] = lambda _cloud, _inputs: None
    refuse_delete: Callable[[Cloud, str, Inputs], None] = lambda _cloud, _id, _inputs: None


def cidr(inputs: Inputs, name: str, version: int = 4) -> Iterator[Problem]:
    value = inputs.get(name)
    if not isinstance(value, str) or value == UNKNOWN:
        return
    try:
        right = ipaddress.ip_network(value).version == version
    except ValueError:
        right = False
    if not right:
        yield name, f"{value!r} is not a valid IPv{version} CIDR block"


def one_of(inputs: Inputs, name: str, values: Sequence[Any]) -> Iterator[Problem]:
    value = inputs.get(name)
    if value not in (None, UNKNOWN, *values):
        yield name, f"expected one of {list(values)}, got {value!r}"


def matches(inputs: Inputs, name: str, pattern: str) -> Iterator[Problem]:
    value = inputs.get(name)
    if isinstance(value, str) and value != UNKNOWN and not re.fullmatch(pattern, value):
        yield name, f"{value!r} does not match {pattern}"


def numbered(prefix: str) -> Callable[[Cloud, Inputs], str]:
    return lambda cloud, _: cloud.new_id(prefix)


def named(*properties: str, between: str = ":") -> Callable[[Cloud, Inputs], str]:
    return lambda _, inputs: between.join(str(inputs[name]) for name in properties)
