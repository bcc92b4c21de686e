"""One nginx for every test that leaves it as it was."""

from collections.abc import Iterator

import pytest
from front import Front, running_front


@pytest.fixture(scope="session")
def front() -> Iterator[Front]:
    """An nginx that all tests share; a test may let further users in, under names of its own."""
    with running_front() as made:
        yield made
        told = made.errors.read_text()
    assert not told, f"nginx complained:\n{told}"


@pytest.fixture
def own_front() -> Iterator[Front]:
    """An nginx for one test that stops or changes something."""
    with running_front() as made:
        yield made
