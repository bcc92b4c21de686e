"""The tests of this folder share one server with those of the pages."""

import pytest
import shared_server


def pytest_configure(config: pytest.Config) -> None:
    if not config.pluginmanager.has_plugin(shared_server.__name__):
        config.pluginmanager.register(shared_server, shared_server.__name__)
