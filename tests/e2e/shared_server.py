"""A plugin: one server for all tests of a process; a test that harms it has it brought back."""

import subprocess
from collections.abc import Iterator

import pytest
from servers import ADA, Server, deploy_on_terminal, kill_all_in

from kits import free_port


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    """The shared server, and what the terminal showed while it was deployed."""
    base = tmp_path_factory.mktemp("server")
    try:
        yield deploy_on_terminal(base, free_port())
    finally:
        kill_all_in(base)
        subprocess.run(["rm", "-rf", base], check=True)


@pytest.fixture(scope="session")
def server(deployed: tuple[Server, str]) -> Server:
    """The shared server, for tests that leave it as it was."""
    return deployed[0]


@pytest.fixture(scope="session")
def ada(server: Server) -> str:
    """The password of a user that no test changes."""
    return server.let_in(ADA)


@pytest.fixture
def rough(server: Server) -> Iterator[Server]:
    """The shared server for a test that harms it: afterwards it is brought back."""
    yield server
    server.run("deploy", "local")
