"""A deploy that is killed at every kind of resource, and a removal that is interrupted."""

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
"""In turn; `make soak` has each kind stopped in each way, on both clouds."""


@pytest.fixture(scope="module")
def runs() -> Iterator[Driver]:
    with driver() as made:
        yield made


def test_a_deploy_that_is_killed_at_each_kind_makes_nothing_twice(
    here: Room, cloud: Cloud, first_deploy: Deployed, runs: Driver
) -> None:
    stopped = stopped_at_each(runs, here, cloud, first_deploy.plan, hows=cycle(KILLS))
    assert set(stopped.values()) == set(KILLS)
    assert stopped.keys() == set(cloud.kinds())
    assert cloud.kinds() == first_deploy.cloud.kinds()
    assert engine.preview(here, first_deploy.plan, refresh=True).changes == {}


def test_a_removal_that_is_interrupted_again_and_again_leaves_nothing(
    here: Room, cloud: Cloud, deployed: Aws, runs: Driver
) -> None:
    engine.up(here, deployed.for_removal(NOW, purge=True))
    engine.unprotect(here)
    stopped = stopped_at_each(runs, here, cloud, None, hows=cycle(["ctrl-c"]))
    assert set(stopped.values()) == {"ctrl-c"}
    assert cloud.kinds() == []
    assert engine.refresh(here).changes == {}
