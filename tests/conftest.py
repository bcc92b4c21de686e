"""What every layer of the tests shares."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kits import Kit, running_kit


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    """A kit of this test's own; whatever it started is gone afterwards."""
    with running_kit(tmp_path / "home") as made:
        yield made
