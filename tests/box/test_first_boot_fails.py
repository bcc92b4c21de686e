"""A first boot that does not get on is told on the laptop, and healed by the next deploy."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import pytest

from box.deployed import Box
from engine.cloud import Action, Thing

NOBODY = {
    "iam.RolePolicy": ("policy", json.dumps({"Version": "2012-10-17", "Statement": []})),
    "storage.BucketIAMMember": ("role", "roles/none"),
}
"""Where each cloud keeps what a machine may do, and a value of it that allows nothing."""
SMALL = "usr/local/lib"


@contextmanager
def no_mirror(box: Box) -> Iterator[None]:
    with box.machines.wires.without_the_rest_of_the_world():
        yield


@contextmanager
def no_rights(box: Box) -> Iterator[None]:
    """Who made the machine's identity forgot what it is for."""
    meant: list[tuple[dict[str, Any], str, str]] = []

    def forget(action: Action, thing: Thing) -> None:
        if action == "create" and thing.kind in NOBODY:
            key, nothing = NOBODY[thing.kind]
            meant.append((thing.inputs, key, thing.inputs[key]))
            thing.inputs[key] = nothing

    box.world.cloud.listeners.append(forget)
    yield
    box.world.cloud.listeners.remove(forget)
    for inputs, key, value in meant:
        inputs[key] = value


@contextmanager
def full_disk(box: Box) -> Iterator[None]:
    """There is no room for the first file of some size, until somebody makes some."""
    box.machines.found["etc/fstab"] = f"tmpfs /{SMALL} tmpfs size=4k 0 0\n"
    yield
    box.guest.run(f"umount /{SMALL}")


SENTENCES = {
    no_mirror: "cannot install nginx polkitd python3-venv unattended-upgrades",
    full_disk: "No space left on device",
    no_rights: "HTTP Error 403",
}


@pytest.mark.parametrize(
    ("empty", "troubles"),
    [("aws", (no_mirror, no_rights)), ("gcp", (full_disk, no_rights))],
    indirect=["empty"],
)
def test_a_first_boot_that_fails_is_told_and_healed(
    empty: Box, troubles: Sequence[Callable[[Box], AbstractContextManager[None]]]
) -> None:
    """Now at one thing, and when that is mended at the next."""
    deploy = empty.first_deploy
    with ExitStack() as everything:
        # All are there from the start, and each goes by itself.
        there = [everything.enter_context(ExitStack()) for _ in troubles]
        for trouble, until in zip(troubles, there, strict=True):
            until.enter_context(trouble(empty))
        for trouble, until in zip(troubles, there, strict=True):
            said = deploy(ok=False)
            assert SENTENCES[trouble] in said
            assert "does not get on" in said
            until.close()
            deploy = empty.deploy
    empty.deploy()
    assert empty.serves()
