"""Walls that are a container beside this one, with nothing in it but what models need.

The other end is room.py, which connects to a socket in the folder that both see; it gets orders
there, and files that are open. All models share that container: they are shut off from all else,
but not from each other.
"""

import json
import logging
import os
import shutil
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from pathlib import Path
from threading import Condition, Thread
from typing import Any

import uv

from trackstack.agent import folders
from trackstack.agent.machine import StepError, tail
from trackstack.agent.models import inside, outlet, room
from trackstack.agent.models.settings import Settings, listen, settings_file, settings_of, socket_of
from trackstack.agent.models.walls import Task, View, too_long

_log = logging.getLogger("trackstack.models")

_DOOR = folders.MODEL_WALLED / "door"
_SCRATCH = Path("/tmp")  # noqa: S108  the other container's own
_THERE_SECONDS = 60.0
_STOP_SECONDS = 30


class Contained:
    """Walls that Docker has put up; see Walls."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._connection: socket.socket | None = None
        self._up: set[str] = set()
        self._memory: dict[str, int] = {}
        self._status: dict[str, int] = {}
        _DOOR.unlink(missing_ok=True)
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._door.bind(str(_DOOR))
        self._door.listen(1)
        Thread(target=self._answer_the_door, daemon=True).start()

    def there(self) -> bool:
        """Whether walls can be put up on this machine: always."""
        return True

    def place(self, service: str, settings: Settings) -> None:
        """Keep what a server is to be started with."""
        folders.write(settings_file(service), settings.model_dump_json().encode())

    def start(self, service: str) -> None:
        """Start a server that was placed, on a socket that is opened for it."""
        if self.running(service):  # with the socket that it got then
            return
        settings = settings_of(service)
        folders.make_all([socket_of(service).parent])
        view = _view(Path(settings.files), Path(settings.environment), _SCRATCH, None)
        with (
            listen(socket_of(service)) as listening,
            folders.model_log(service).open("ab") as log,
            open(os.devnull, "rb") as nothing,  # noqa: PTH123  no path of ours
        ):
            self._order(
                {
                    "start": service,
                    "command": inside.server(view, settings, room.SOCKET),
                    "variables": inside.server_variables(view, settings),
                    "cwd": str(_SCRATCH),
                    "memory_mb": settings.most_memory_mb,
                },
                [nothing.fileno(), log.fileno(), log.fileno(), listening.fileno()],
            )

    def stop(self, service: str) -> None:
        """End a server; returns when its processes are gone, or the container is."""
        with self._changed:
            if service not in self._up:
                return
        self._order({"stop": service, "seconds": _STOP_SECONDS}, [])
        gone: Callable[[], bool] = lambda: service not in self._up  # noqa: E731
        if not self._wait(gone, _STOP_SECONDS + 10):
            raise StepError(f"{service} does not end")

    def running(self, service: str) -> bool:
        """Whether a server is up or on its way up."""
        with self._changed:
            # What ran before this process did is known as soon as the other end comes.
            self._changed.wait_for(lambda: self._connection is not None, _THERE_SECONDS)
            return service in self._up

    def memory(self, service: str) -> int | None:
        """What a server has in memory, as the other end told last."""
        with self._changed:
            return self._memory.get(service)

    def forget(self, service: str) -> None:
        """There is nothing to undo."""

    def run(self, task: Task, problem: str) -> None:
        """Run a task to its end; see Walls."""
        name = f"model-{task.name}"
        self.stop(name)
        folder, log = folders.MODEL_WALLED / name, folders.model_log(name)
        shutil.rmtree(folder, ignore_errors=True)
        log.unlink(missing_ok=True)
        folders.make_all([folder])
        door = folder / "door"
        # A folder of its own in there, and all of them gone with the container.
        scratch = _SCRATCH / f"{name}-{time.monotonic_ns()}"
        way_out = door.absolute() if task.network else None
        view = _view(task.files, task.environment, scratch, way_out)
        prepare = f'mkdir "{scratch}" && "$@"; status=$?; rm -rf "{scratch}"; exit $status'
        order = {
            "start": name,
            "command": ["/bin/sh", "-c", prepare, "sh", *task.command(view)],
            "variables": task.variables(view),
            "cwd": str(view.files),
            "memory_mb": None,
        }
        try:
            with ExitStack() as stack:
                # Beside it are the workspace's other services.
                way = (
                    outlet.running(door, closed=outlet.networks_here())
                    if task.network
                    else nullcontext()
                )
                files = [
                    stack.enter_context(open(task.question or os.devnull, "rb")),  # noqa: PTH123
                    stack.enter_context(task.answer.open("wb")),
                    stack.enter_context(log.open("ab")),
                ]
                stack.enter_context(way)
                self._order(order, [each.fileno() for each in files])
                if not self._wait(lambda: name not in self._up, task.seconds):
                    self.stop(name)
                    raise too_long(problem, task)
            if self._status.pop(name, 1) != 0:
                raise StepError(problem, tail(log))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            log.unlink(missing_ok=True)

    def _order(self, order: dict[str, Any], files: list[int]) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._connection is not None, _THERE_SECONDS):
                raise StepError("the container for models does not answer")
            assert self._connection is not None  # noqa: S101  it was waited for
            try:
                socket.send_fds(self._connection, [json.dumps(order).encode()], files)
            except OSError as error:
                raise StepError(f"the container for models takes no orders: {error}") from error
            if "start" in order:
                self._status.pop(order["start"], None)
                self._up.add(order["start"])

    def _wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(condition, seconds)

    def _answer_the_door(self) -> None:
        """Listen to the other end, whenever there is one."""
        while True:
            connection, _ = self._door.accept()
            try:
                with connection:
                    while message := connection.recv(room.MOST_BYTES):
                        self._hear(connection, json.loads(message))
            except Exception as error:  # a model may have taken the other end over
                _log.error("the container for models is not listened to: %r", error)
            with self._changed:
                self._connection = None
                self._changed.notify_all()

    def _hear(self, connection: socket.socket, told: dict[str, Any]) -> None:
        with self._changed:
            if "running" in told:
                # Another container than before has none of what ran in that.
                self._up = set(map(str, told["running"]))
                self._connection = connection
            if "ended" in told:
                self._up.discard(told["ended"])
                self._memory.pop(told["ended"], None)
                self._status[str(told["ended"])] = int(told["status"])
            if "memory" in told:
                self._memory = {str(name): int(size) for name, size in told["memory"].items()}
            self._changed.notify_all()


def _view(files: Path, environment: Path, scratch: Path, way_out: Path | None) -> View:
    return View(
        files=files.absolute(),
        environment=environment.absolute(),
        scratch=scratch,
        way_out=way_out,
        uv=Path(uv.find_uv_bin()),
    )
