"""Walls by systemd: each server and task is an instance of one unit, as a user of its own.

The unit, templates/systemd/trackstack-model@.service, lies on the machine from its start and says
what is seen; the agent, which is no root, may start and stop it. It shows an instance the folder
that is named like it, below models/walled:

    name           the service's
    start          the script that is run
    log            a link to the file for what it says; shown in its place
    files          a link to the model's files; shown in their place
    environment    likewise, to its packages
    question       what a task reads
    answer         what a task writes
    door           where a server gets its socket, and a task its way out
    uv             the program, for a task that installs
"""

import os
import shlex
import shutil
import socket
import time
from contextlib import nullcontext, suppress
from pathlib import Path

import uv

from trackstack.agent import folders
from trackstack.agent.machine import StepError, tail
from trackstack.agent.models import inside, outlet
from trackstack.agent.models.settings import Settings, listen, settings_file, settings_of, socket_of
from trackstack.agent.models.walls import AroundServices, Task, View, too_long
from trackstack.agent.systemd import Systemd, give, instance

_SEEN = Path("/var/lib/trackstack")
"""Where the unit shows an instance its own: all else there is hidden."""
_OWN = _SEEN / "own"
_LOG = _SEEN / "log"
_SCRATCH = Path("/tmp")  # noqa: S108  the unit's own
_LOOK_SECONDS = 0.3
_TAKE_SECONDS = 30.0


class Units(AroundServices[Systemd]):
    """Walls that systemd puts up; see Walls."""

    def end_leftovers(self) -> None:
        """End the tasks of an earlier run; servers go on."""
        for folder in folders.MODEL_WALLED.iterdir():
            service = (folder / "name").read_text() if (folder / "name").is_file() else None
            if service is None:  # it had only begun to be furnished
                shutil.rmtree(folder)
            elif not settings_file(service).is_file():
                self.stop(service)
                self.forget(service)

    def there(self) -> bool:
        """Whether walls can be put up on this machine: always."""
        return True

    def place(self, service: str, settings: Settings) -> None:
        """Define a model's server, so that it can be started."""
        view = _view(network=False)
        command = inside.server(view, settings, str(_OWN / "door"))
        _furnish(service, Path(settings.files), Path(settings.environment))
        before = (
            "ulimit -c 0",
            f"ulimit -d {settings.most_memory_mb << 10}",  # in KiB
            f"exec >>{_LOG} 2>&1",
        )
        _write_start(service, before, inside.server_variables(view, settings), command)
        folders.write(settings_file(service), settings.model_dump_json().encode())

    def start(self, service: str) -> None:
        """Start a server that was placed, and hand it the socket that is opened for it."""
        if self.running(service):  # with the socket that it got then
            return
        self.place(service, settings_of(service))  # a newer agent may do it otherwise
        folders.make_all([socket_of(service).parent])
        door = listen(_folder(service) / "door", 0o660)
        with door, listen(socket_of(service), 0o660) as listening:
            self.machine.start(service)
            try:
                self._hand_out(service, door, listening)
            finally:
                (_folder(service) / "door").unlink(missing_ok=True)

    def forget(self, service: str) -> None:
        """Undo `place`, for a server that was stopped."""
        shutil.rmtree(_folder(service), ignore_errors=True)
        self.machine.forget(service)

    def run(self, task: Task, problem: str) -> None:
        """Run a task to its end; see Walls."""
        service = f"model-{task.name}"
        folder = _folder(service)
        self.machine.stop(service)
        shutil.rmtree(folder, ignore_errors=True)
        folders.model_log(service).unlink(missing_ok=True)
        view = _view(task.network)
        try:
            _furnish(service, task.files, task.environment)
            if task.question is not None:
                shutil.copyfile(task.question, folder / "question")
            if task.network:
                os.link(uv.find_uv_bin(), folder / "uv")
            asked = _OWN / "question" if task.question is not None else os.devnull
            before = (
                f"cd {view.files}",
                f"exec <{asked} >{_SEEN / 'answer'} 2>>{_LOG}",
            )
            _write_start(service, before, task.variables(view), task.command(view))
            give(folder / "answer")
            with outlet.running(folder / "door", 0o660) if task.network else nullcontext():
                self.machine.start(service)
                until = time.monotonic() + task.seconds
                while self.machine.running(service):
                    if time.monotonic() > until:
                        raise too_long(problem, task)
                    time.sleep(_LOOK_SECONDS)
            if not self.machine.ended_well(service):
                raise StepError(problem, tail(folders.model_log(service)))
            (folder / "answer").replace(task.answer)
        finally:
            self.machine.stop(service)
            self.forget(service)
            folders.model_log(service).unlink(missing_ok=True)

    def _hand_out(self, service: str, door: socket.socket, listening: socket.socket) -> None:
        door.settimeout(1.0)
        until = time.monotonic() + _TAKE_SECONDS
        while time.monotonic() < until and self.machine.running(service):
            with suppress(TimeoutError):
                taker, _ = door.accept()
                with taker:
                    socket.send_fds(taker, [b"."], [listening.fileno()])
                return
        raise StepError("its server does not come up", tail(folders.model_log(service)))


def _folder(service: str) -> Path:
    return folders.MODEL_WALLED / instance(service)


def _view(network: bool) -> View:
    return View(
        files=_SEEN / "files",
        environment=_SEEN / "environment",
        scratch=_SCRATCH,
        way_out=_OWN / "door" if network else None,
        uv=_OWN / "uv",
    )


def _furnish(service: str, files: Path, environment: Path) -> None:
    """Have the folder of an instance, with what it is to be shown."""
    folder = _folder(service)
    folders.make_all([folder])
    folders.write(folder / "name", service.encode())
    log = folders.model_log(service)
    give(log)
    for name, place in (("files", files), ("environment", environment), ("log", log)):
        new = folder / f"{name}.new"
        new.unlink(missing_ok=True)
        new.symlink_to(place.absolute())
        new.replace(folder / name)


def _write_start(
    service: str, before: tuple[str, ...], variables: dict[str, str], command: list[str]
) -> None:
    exports = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    lines = [*before, *exports, f"exec {shlex.join(command)}"]
    folders.write(_folder(service) / "start", "".join(f"{line}\n" for line in lines).encode())
