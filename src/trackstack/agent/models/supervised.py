"""Walls around services of a supervisor: those of bubblewrap, which needs no root."""

import os
import shutil
import subprocess
from contextlib import nullcontext
from pathlib import Path

import uv

from trackstack.agent import folders
from trackstack.agent.machine import OUTPUT_TAIL, Machine, StepError
from trackstack.agent.models import bubblewrap, outlet
from trackstack.agent.models.environments import python_places
from trackstack.agent.models.settings import Settings, settings_file
from trackstack.agent.models.walls import AroundServices, Task, View, too_long
from trackstack.agent.processes import MARK, SERVICE

_DEFINITION = """\
[program:{service}]
command=/bin/sh -c 'exec "$TRACKSTACK_PYTHON" -P -m trackstack.agent.models.server {service}'
autorestart=true
startsecs=10
startretries=0
stopsignal=TERM
stopwaitsecs={seconds}
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile=logs/{service}.log
stdout_logfile_maxbytes=5MB
stdout_logfile_backups=1
"""


class Supervised(AroundServices[Machine]):
    """Walls by bubblewrap, or none where there is none; see Walls."""

    def there(self) -> bool:
        """Whether walls can be put up on this machine."""
        return bubblewrap.there()

    def place(self, service: str, settings: Settings) -> None:
        """Define a model's server, so that it can be started."""
        definition = _DEFINITION.format(service=service, seconds=min(settings.seconds, 30))
        # The definition last: the machine takes it up on its own when it starts.
        _put(settings_file(service), settings.model_dump_json())
        _put(folders.SERVICES / f"{service}.conf", definition)

    def start(self, service: str) -> None:
        """Start a server that was placed; it opens its socket before it is within the walls."""
        self.machine.start(service)

    def forget(self, service: str) -> None:
        """Undo `place`, for a server that was stopped."""
        (folders.SERVICES / f"{service}.conf").unlink(missing_ok=True)

    def run(self, task: Task, problem: str) -> None:
        """Run a task to its end; see Walls."""
        scratch = (folders.TEMPORARY / task.name).absolute()
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        door = folders.RUN / f"way-out-{task.name}"
        door.mkdir(mode=0o700, exist_ok=True)
        walled = bubblewrap.there()
        way_out = walled and task.network
        view = View(
            files=task.files.absolute(),
            environment=task.environment.absolute(),
            scratch=scratch,
            way_out=Path(bubblewrap.WAY_OUT) / "socket" if way_out else None,
            uv=Path(uv.find_uv_bin()),
        )
        command = task.command(view)
        if walled:
            command = bubblewrap.within(
                command,
                read=(view.files, view.environment, *python_places(view.environment), view.uv),
                write=(scratch,),
                way_out=door.absolute() if way_out else None,
                cwd=view.files,
            )
        try:
            with outlet.running(door / "socket") if way_out else nullcontext():
                _run(command, task, task.variables(view) | belongings(), problem)
        finally:
            for folder in (door, scratch):
                shutil.rmtree(folder, ignore_errors=True)


def server_view(settings: Settings, walled: bool) -> View:
    """What a model's server sees."""
    return View(
        files=Path(settings.files).absolute(),
        environment=Path(settings.environment).absolute(),
        scratch=bubblewrap.TEMPORARY if walled else folders.TEMPORARY.absolute(),
        way_out=None,
        uv=Path(uv.find_uv_bin()),
    )


def belongings() -> dict[str, str]:
    """The variables that say to which machine and service a process belongs, and its language."""
    return {n: os.environ[n] for n in (MARK, SERVICE, "LANG", "TZ") if n in os.environ}


def _run(command: list[str], task: Task, variables: dict[str, str], problem: str) -> None:
    question = os.devnull if task.question is None else task.question
    with open(question, "rb") as asked, task.answer.open("wb") as answer:  # noqa: PTH123  or a name
        try:
            done = subprocess.run(
                command,
                stdin=asked,
                stdout=answer,
                stderr=subprocess.PIPE,
                env=variables,
                cwd=task.files,
                timeout=task.seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise too_long(problem, task) from error
    if done.returncode != 0:
        raise StepError(problem, done.stderr.decode(errors="replace")[-OUTPUT_TAIL:])


def _put(file: Path, text: str) -> None:
    """Put a file in the services folder, which the agent clears of what is begun there."""
    new = folders.MODEL_FILES / f".{file.name}"
    with new.open("w") as written:
        written.write(text)
        written.flush()
        os.fsync(written.fileno())
    new.replace(file)
