"""A first boot that does not get on is told on the laptop, and healed by the next deploy."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from box.deployed import Box
from engine.cloud import Action, Thing

NOTHING = json.dumps({"Version": "2012-10-17", "Statement": []})


@contextmanager
def no_mirror(box: Box) -> Iterator[None]:
    with box.machines.wires.without_the_rest_of_the_world():
        yield


@contextmanager
def no_bucket(box: Box) -> Iterator[None]:
    """Who made the role's policy forgot what it is for."""
    meant: dict[str, str] = {}

    def forget(action: Action, thing: Thing) -> None:
        if (action, thing.kind) == ("create", "iam.RolePolicy"):
            meant[thing.id] = thing.inputs["policy"]
            thing.inputs["policy"] = NOTHING

    box.world.cloud.listeners.append(forget)
    yield
    box.world.cloud.listeners.remove(forget)
    for thing in box.world.cloud.of("iam.RolePolicy"):
        thing.inputs["policy"] = meant[thing.id]


@pytest.mark.parametrize(
    ("trouble", "sentence"),
    [
        (no_mirror, "cannot install nginx python3-venv unattended-upgrades"),
        (no_bucket, "HTTP Error 403"),
    ],
)
def test_a_first_boot_that_fails_is_told_and_healed(
    empty: Box, trouble: Callable[[Box], AbstractContextManager[None]], sentence: str
) -> None:
    with trouble(empty):
        said = empty.first_deploy(ok=False)
        assert sentence in said
        assert "does not get on" in said
    empty.deploy()
    assert empty.serves()
