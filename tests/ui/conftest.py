"""The tests of the pages share one server with the end-to-end tests."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))

import shared_server


def pytest_configure(config: pytest.Config) -> None:
    if not config.pluginmanager.has_plugin(shared_server.__name__):
        config.pluginmanager.register(shared_server, shared_server.__name__)
