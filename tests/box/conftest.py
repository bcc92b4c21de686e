"""Environments in the box."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from box.deployed import Box, box


@pytest.fixture(params=["aws", "gcp"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Box]:
    """A cloud, with nothing in it yet."""
    with box(request.param, tmp_path) as made:
        yield made


@pytest.fixture(scope="session", params=["aws", "gcp"])
def deployed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Box]:
    """An environment on each cloud, which serves at the end of each test too."""
    with box(request.param, tmp_path_factory.mktemp(request.param)) as made:
        made.first_deploy()
        yield made
