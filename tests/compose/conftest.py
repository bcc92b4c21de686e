"""An engine for all tests of this folder."""

from collections.abc import Iterator

import pytest

from compose.engine import Engine, docker_engine


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A Docker Engine; what a test makes in it, the test removes."""
    with docker_engine(tmp_path_factory.mktemp("docker")) as made:
        yield made
