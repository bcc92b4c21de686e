"""Deploys and removals on each cloud's double, stopped in every way at every kind of resource."""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from pydantic import SecretStr

from engine.cloud import Cloud
from engine.driver import Driver, driver
from engine.provider import served
from engine.rooms import (
    DATABASE,
    GCP_DATABASE,
    PASSWORD,
    a_cloud,
    a_gcp_plan,
    a_plan,
    a_project,
    room,
)
from engine.stops import HOWS, How, stopped_at_each
from trackstack.cloud_plan import Aws, Gcp
from trackstack.targets import engine

_SECRETS = {"database_password": SecretStr(PASSWORD)}

CASES: dict[str, tuple[Callable[[], Cloud], Aws | Gcp]] = {
    "aws": (a_cloud, a_plan(database=DATABASE)),
    "gcp": (a_project, a_gcp_plan(database=GCP_DATABASE)),
}
"""An empty account, and what is made in it, by the name of the provider."""


def soak(base: Path, chance: random.Random) -> list[str]:
    """Stop runs on both clouds.

    Args:
        base: an empty folder.

    Returns:
        What is wrong.
    """
    wrong: list[str] = []
    with driver() as runs:
        for name, how in ((name, how) for name in CASES for how in HOWS):
            folder = base / f"{name}-{how}"
            folder.mkdir()
            try:
                for told in _stopped(name, how, folder, runs, chance):
                    print(f"  {name:<6} {told}", flush=True)
            except AssertionError as error:
                wrong.append(f"{name}: {error}")
    return wrong


def _stopped(
    name: str, how: How, folder: Path, runs: Driver, chance: random.Random
) -> Iterator[str]:
    """A deploy and a purge, each stopped again and again, mostly in one way."""
    make, plan = CASES[name]
    cloud, whole = make(), make()
    with served(whole) as port:
        engine.up(room(folder / "whole", port, package=name), plan, secrets=_SECRETS)
    with served(cloud) as port:
        here = room(folder / "stopped", port, package=name)
        hows = (how if chance.random() < 0.8 else chance.choice(HOWS) for _ in count())
        stops = stopped_at_each(runs, here, cloud, plan, hows=hows, secrets=_SECRETS)
        assert cloud.kinds() == whole.kinds(), f"made {cloud.kinds()} after {stops}"
        left = engine.preview(here, plan, refresh=True).changes
        assert left == {}, f"{left} after {stops}"
        yield f"{how:<10} a deploy stopped {len(stops)} times"
        engine.up(here, plan.for_removal(datetime.now(UTC), purge=True), secrets=_SECRETS)
        engine.unprotect(here)
        stops = stopped_at_each(runs, here, cloud, None, hows=hows)
        assert set(cloud.kinds()) <= {"projects.Service"}, f"left {cloud.kinds()} after {stops}"
        yield f"{how:<10} a removal stopped {len(stops)} times"
