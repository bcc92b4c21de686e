"""A deploy and a removal that are stopped at every kind of resource, and end right."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import cycle

import pytest

from engine.cloud import Cloud
from engine.conftest import Deployed
from engine.driver import Driver, driver
from engine.stops import How, stopped_at_each
from trackstack.cloud_plan import Aws
from trackstack.targets import engine
from trackstack.targets.engine import Room

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
KILLS: tuple[How, ...] = ("unheard", "unanswered")


@pytest.fixture(scope="module")
def runs() -> Iterator[Driver]:
    with driver() as made:
        yield made


@pytest.mark.parametrize("hows", [KILLS, ("ctrl-c",)])
def test_a_deploy_that_is_stopped_at_each_kind_makes_nothing_twice(
    here: Room, cloud: Cloud, first_deploy: Deployed, runs: Driver, hows: tuple[How, ...]
) -> None:
    stopped = stopped_at_each(runs, here, cloud, first_deploy.plan, hows=cycle(hows))
    assert set(hows) <= set(stopped.values())
    if hows == KILLS:
        assert stopped.keys() == set(cloud.kinds())
    assert cloud.kinds() == first_deploy.cloud.kinds()
    assert engine.preview(here, first_deploy.plan, refresh=True).changes == {}


@pytest.mark.parametrize("hows", [KILLS, ("ctrl-c",)])
def test_a_removal_that_is_stopped_at_each_kind_leaves_nothing(
    here: Room, cloud: Cloud, deployed: Aws, runs: Driver, hows: tuple[How, ...]
) -> None:
    there = set(cloud.kinds())
    engine.up(here, deployed.for_removal(NOW, purge=True))
    engine.unprotect(here)
    stopped = stopped_at_each(runs, here, cloud, None, hows=cycle(hows))
    assert set(hows) <= set(stopped.values())
    if hows == KILLS:
        assert stopped.keys() == there
    assert cloud.kinds() == []
    assert engine.refresh(here).changes == {}
