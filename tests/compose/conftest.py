"""An engine, and a workspace in it, for all tests of this folder."""

from collections.abc import Iterator

import pytest

from compose.engine import Engine, docker_engine
from compose.workspace import Workspace, a_workspace


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A Docker Engine; what a test makes in it, the test removes."""
    with docker_engine(tmp_path_factory.mktemp("docker")) as made:
        yield made


@pytest.fixture(scope="session")
def workspace(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A workspace that serves; a test that breaks something waits until it is whole again."""
    with a_workspace(engine, tmp_path_factory.mktemp("workspace")) as made:
        made.up()
        yield made
