"""The real engine, over a cloud in memory."""

import copy
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.cloud import Cloud
from engine.provider import served
from engine.rooms import DATABASE, a_cloud, a_plan, room
from engine.world.aws import AwsWorld, aws_world
from trackstack.cloud_plan import Aws
from trackstack.targets import engine
from trackstack.targets.base import Result
from trackstack.targets.engine import Room
from trackstack.targets.engine_events import Event


@dataclass(frozen=True)
class Deployed:
    """An environment with everything in it, as its first deploy left it.

    Attributes:
        folder: the engine's state and files.
        told: each event, as it was told.
    """

    plan: Aws
    folder: Path
    cloud: Cloud
    result: Result
    told: list[Event]


@pytest.fixture
def cloud() -> Cloud:
    """An empty account."""
    return a_cloud()


@pytest.fixture
def here(tmp_path: Path, cloud: Cloud) -> Iterator[Room]:
    """The engine's room on this computer, with the cloud's provider within reach."""
    with served(cloud) as port:
        yield room(tmp_path, port)


@pytest.fixture(scope="session")
def first_deploy(tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """One for all tests: each works on a copy."""
    folder, cloud, told = tmp_path_factory.mktemp("deployed"), a_cloud(), list[Event]()
    plan = a_plan(database=DATABASE)
    with served(cloud) as port:
        result = engine.up(room(folder, port), plan, tell=told.append)
    return Deployed(plan, folder, cloud, result, told)


@pytest.fixture
def deployed(here: Room, cloud: Cloud, first_deploy: Deployed) -> Aws:
    """The plan that was made true in `cloud`, as `here` knows."""
    shutil.copytree(first_deploy.folder / "state", here.home.parent / "state", dirs_exist_ok=True)
    cloud.things = copy.deepcopy(first_deploy.cloud.things)
    return first_deploy.plan


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[AwsWorld]:
    """An AWS account around the program, with machines that run."""
    with aws_world(tmp_path / "aws") as world:
        yield world
