"""That the engine of these tests is one, and that nothing is left of it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from box.left import forwards, left
from compose.engine import BASE, Engine, docker_engine
from engine.world.network import network
from kits import eventually, free_port

COMPOSE = """
services:
  told:
    build: .
    init: true
    command: busybox httpd -f -p 8000 -h /told
    volumes: [./told:/told:ro]
    restart: unless-stopped
    healthcheck:
      test: curl --fail --silent http://localhost:8000/
      interval: 1s
  asked:
    build: .
    init: true
    command: sh -c 'curl --silent --output /srv/index.html http://told:8000/ &&
      exec busybox httpd -f -p 8000 -h /srv'
    depends_on: {told: {condition: service_healthy}}
    ports: ["127.0.0.1:PORT:8000"]
    restart: unless-stopped
"""
DOCKERFILE = """
ARG BASE
FROM ${BASE}
RUN apt-get update && apt-get install --yes --no-install-recommends busybox curl
"""


@dataclass(frozen=True)
class Stack:
    """A stack of two services, of which one says what the other told it when it began."""

    engine: Engine
    folder: Path
    port: int

    @property
    def url(self) -> str:
        """Where it is published."""
        return f"http://127.0.0.1:{self.port}"

    def compose(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run compose on it."""
        return self.engine.docker("compose", "--project-directory", self.folder, *words)

    def says(self) -> str | None:
        """What its published port answers; None while nobody does."""
        try:
            return self.engine.inside(lambda: httpx.get(self.url).text)
        except httpx.TransportError:
            return None


@pytest.fixture
def stack(engine: Engine, tmp_path: Path) -> Iterator[Stack]:
    """The stack, which serves."""
    made = Stack(engine, tmp_path, free_port())
    (tmp_path / "compose.yaml").write_text(COMPOSE.replace("PORT", str(made.port)))
    (tmp_path / "Dockerfile").write_text(DOCKERFILE.replace("ARG BASE", f"ARG BASE={engine.base}"))
    (tmp_path / "told").mkdir()
    (tmp_path / "told/index.html").write_text("first")
    try:
        made.compose("up", "--build", "--detach", "--wait")
        yield made
    finally:
        made.compose("down", "--volumes", "--rmi", "local", "--remove-orphans")


def test_a_stack_is_built_from_the_mirrors_and_serves(stack: Stack) -> None:
    assert stack.says() == "first"


def test_a_stack_is_back_after_a_power_cut(stack: Stack) -> None:
    (stack.folder / "told/index.html").write_text("second")
    stack.engine.restart()
    assert eventually(lambda: stack.says() == "second"), stack.compose("logs").stdout


def test_a_published_port_is_not_one_of_this_computer(stack: Stack) -> None:
    with pytest.raises(httpx.ConnectError):
        httpx.get(stack.url)


def test_what_runs_on_the_engines_host_reaches_the_stack_and_knows_names(stack: Stack) -> None:
    mirror = "deb.debian.org"
    for words in (("curl", "--fail", "--silent", stack.url), ("getent", "hosts", mirror)):
        done = subprocess.run(stack.engine.command(*words), capture_output=True, check=False)
        assert done.returncode == 0, f"{words}: {done.stdout + done.stderr!r}"


def test_an_engine_begins_with_its_base_alone_whatever_an_earlier_one_had(tmp_path: Path) -> None:
    with docker_engine(tmp_path / "first") as first:
        begin(first)
        for kind in ("volume", "network"):
            first.docker(kind, "create", "forgotten")
        first.docker("tag", first.base, "forgotten")
    with docker_engine(tmp_path / "second") as second:
        for kind, expected in LISTED.items():
            assert set(second.docker(*kind.split()).stdout.split()) == expected, kind


LISTED = {
    "container ls --all --quiet": set[str](),
    "volume ls --quiet": set[str](),
    "network ls --format {{.Name}}": {"bridge", "host", "none"},
    "image ls --format {{.Repository}}:{{.Tag}}": {BASE},
}


def test_a_damaged_store_is_made_anew(tmp_path: Path) -> None:
    with docker_engine(tmp_path / "first") as first:
        store = Path(first.docker("info", "--format", "{{.DockerRootDir}}").stdout.strip())
    (store / "network/files/local-kv.db").write_text("damaged")
    with docker_engine(tmp_path / "second") as second:
        begin(second)


def test_nothing_is_left_of_an_engine(tmp_path: Path) -> None:
    before = forwards()
    with docker_engine(tmp_path) as engine:
        begin(engine)
        bridge = engine.namespace.rpartition("-")[0]
        assert any(map(running, left(bridge, tmp_path)))
    assert left(bridge, tmp_path) == []
    assert forwards() == before


KILLED = """
import pathlib, sys
from compose.engine import docker_engine
from compose.test_engine import begin
with docker_engine(pathlib.Path(sys.argv[1])) as engine:
    begin(engine)
    print(engine.namespace, flush=True)
    sys.stdin.read()
"""


@pytest.mark.usefixtures("engine")
def test_nothing_is_left_of_an_engine_whose_test_was_killed(tmp_path: Path) -> None:
    here = subprocess.Popen(
        [sys.executable, "-c", KILLED, tmp_path],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with here:
        assert here.stdout is not None
        bridge = here.stdout.readline().rpartition("-")[0]
        here.send_signal(signal.SIGKILL)
    assert bridge
    # Its processes are gone by themselves, and its names when there is a next run.
    assert eventually(lambda: not any(map(running, left(bridge, tmp_path)))), left(bridge, tmp_path)
    with network():
        # Another run may be about to remove it too.
        assert eventually(lambda: left(bridge, tmp_path) == []), left(bridge, tmp_path)


def running(line: str) -> bool:
    return line.startswith("process")


def begin(engine: Engine) -> None:
    """Start a container that runs until it is ended."""
    engine.docker("run", "--detach", "--publish", "80:80", engine.base, "sleep", "infinity")
