"""Environments in the box."""

from collections.abc import Iterator

import pytest

from box.deployed import Box, box


@pytest.fixture(scope="module", params=["aws"])
def deployed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Box]:
    """An environment on each cloud, as its first deploy left it, for the tests of a module."""
    with box(request.param, tmp_path_factory.mktemp(request.param)) as made:
        made.first_deploy()
        yield made
