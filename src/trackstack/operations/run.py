"""Runs an MLflow project on this computer, as a client of an environment."""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil
from pydantic import Field

from trackstack import bundle, lock
from trackstack.desired import Part
from trackstack.environment import Environment
from trackstack.errors import TrackstackError
from trackstack.operations import project, pythons
from trackstack.operations.project_source import at_hand, is_address, without_login
from trackstack.tracking import Tracking

_FINISHED = "FINISHED"

_STOP_SECONDS = 15.0
_MARK_SECONDS = 10.0

Tell = Callable[[str], None]


class Wanted(Part):
    """What is to be run.

    Attributes:
        source: a folder, or the address of a git repository, which may end with '#FOLDER'.
        version: of that repository.
        entry_point: one of the project's, or a script in it.
        parameters: of the entry point, by name.
        experiment: where its run goes; None for what the shell says, or the default one.
    """

    source: str
    version: str | None = None
    entry_point: str = project.MAIN
    parameters: dict[str, str] = Field(default_factory=dict)
    experiment: str | None = None


class Ran(Part):
    """A project's run, as the server has it.

    Attributes:
        run: its id.
        experiment: that one's.
        status: MLflow's word: 'FINISHED', 'FAILED' and others.
        url: the run's page.
        succeeded: whether its command ended well; the status is what its own code may say.
        why: what kept MLflow from running it; None when it was the project that failed, or none.
    """

    run: str
    experiment: str
    status: str
    url: str
    succeeded: bool
    why: str | None = None


def run_project(
    environment: Environment,
    wanted: Wanted,
    login: Mapping[str, str],
    tell: Tell,
    output: int | None = None,
) -> Ran:
    """Run a project; what it writes is shown as it comes.

    Args:
        environment: whose server its run goes to.
        wanted: the project.
        login: its client's variables.
        tell: is told what is being done.
        output: where the project's standard output goes; None for this command's own.

    Returns:
        The run as the server has it: whether the project failed is its status.

    Raises:
        UsageError: the project cannot be run like that; the server has heard nothing of it.
        MissingError: this computer lacks a Python or git.
        NotProvenError: the server does not answer.
        TrackstackError: the run did not come about.
    """
    packages = environment.existing_record().plan.packages
    server = environment.tracking(
        login["MLFLOW_TRACKING_USERNAME"], login["MLFLOW_TRACKING_PASSWORD"]
    )
    with (
        server,
        at_hand(wanted.source, wanted.version) as folder,
        tempfile.TemporaryDirectory(prefix="trackstack-") as temporary,
    ):
        found = project.read(folder)
        project.check(found, folder, wanted.entry_point, wanted.parameters)
        versions = lock.versions(packages)
        imports = project.imports(found, folder, versions)
        # A client that nobody answers would try for minutes.
        server.read()
        tell(f"MLflow {versions['mlflow']}, as the server has it; installed where it is not yet.")
        client = python = pythons.with_lock(packages)
        if imports is not None:
            tell(f"What the project's {found.file} asks for, likewise.")
            python = pythons.with_imports(imports, folder, packages)
        told = Path(temporary) / "told.json"
        program = str(bundle.templates() / "client" / "run_project.py")
        process = subprocess.Popen(
            [client, "-P", program, _asked(wanted, folder, temporary), told],
            env={**os.environ, **login, **_activated(python)},
            stdout=output,
        )
        try:
            process.wait()
        except KeyboardInterrupt:
            _end(process)
            with suppress(TrackstackError):
                ran = _looked_up(environment, server, told, succeeded=False)
                tell(f"The project was stopped. Its run is {ran.status}: {ran.url}")
            raise
        return _looked_up(environment, server, told, succeeded=process.returncode == 0)


def failure(ran: Ran) -> TrackstackError | None:
    """What to say of a run that did not go well; None of one that did."""
    if ran.succeeded:
        return None
    why = f"could not be run: {ran.why.rstrip('.')}" if ran.why else "failed"
    return TrackstackError(f"The project {why}.", f"Its run is {ran.status}: {ran.url}")


def _asked(wanted: Wanted, folder: Path, temporary: str) -> str:
    """What the program in the client's Python is asked for, as JSON."""
    return json.dumps(
        {
            "uri": str(folder),
            "entry_point": wanted.entry_point,
            "parameters": wanted.parameters,
            "experiment_name": wanted.experiment,
            "storage_dir": temporary,
            "source": without_login(wanted.source) if is_address(wanted.source) else None,
        }
    )


def _activated(python: Path) -> dict[str, str]:
    """The variables by which the project's command finds its Python."""
    programs = python.parent
    path = f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {"PATH": path, "VIRTUAL_ENV": str(programs.parent)}


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Have MLflow mark the run, and nothing left running; another Ctrl-C changes nothing."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with suppress(psutil.NoSuchProcess):
            family = psutil.Process(process.pid).children(recursive=True)
            # At a terminal it has heard already, and takes no second word.
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
            for member in family:
                with suppress(psutil.NoSuchProcess):
                    member.kill()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_MARK_SECONDS)
        process.kill()
        process.wait()
    finally:
        signal.signal(signal.SIGINT, before)


def _looked_up(environment: Environment, server: Tracking, told: Path, succeeded: bool) -> Ran:
    known: dict[str, str] = json.loads(told.read_text()) if told.is_file() else {}
    why = known.get("problem")
    if "run" not in known:
        told_why = (why or "MLflow ended without a word of why").rstrip(".")
        raise TrackstackError(f"The project could not be run: {told_why}.")
    info = server.run(known["run"])["info"]
    experiment = str(info["experiment_id"])
    return Ran(
        run=known["run"],
        experiment=experiment,
        status=str(info["status"]),
        url=f"{environment.url}/#/experiments/{experiment}/runs/{known['run']}",
        succeeded=succeeded and info["status"] == _FINISHED,
        why=why,
    )
