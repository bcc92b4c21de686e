"""Keeps one model served: its newest version answers, or the one before it goes on."""

import http.client
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Literal

from trackstack.agent import folders
from trackstack.agent.ensure_nginx import link
from trackstack.agent.machine import StepError, ask, tail, wait_for
from trackstack.agent.models import connections, environments, mlflow, registry
from trackstack.agent.models.environments import told_by
from trackstack.agent.models.inside import EXAMPLE
from trackstack.agent.models.settings import Settings, settings_file, settings_of, socket_of
from trackstack.agent.models.trial import tried
from trackstack.agent.models.walls import Walls
from trackstack.desired import ModelReport, ModelTrial, ServedModel, content_id

LOOK_SECONDS = 2.0
"""How often it is asked what an alias points at."""
_START_SECONDS = 300
_FIRST_PAUSE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 600.0
_PING_SECONDS = 5
_MUTE_SECONDS = 30
"""Beyond the time of a request, which may keep a server from answering a ping."""

_log = logging.getLogger("trackstack.models")


@dataclass
class Trouble:
    """What went wrong with one version, and when it is tried again."""

    of: str
    reason: str
    times: int
    again_at: float


@dataclass
class Keeper:
    """Keeps one model served. `look` is called again and again, by one thread.

    Attributes:
        wanted: as the document has it now; changed from outside, by `want`.
        desired: the generation of that document.
        walls: in which the model's code runs.
        changed: called when the report says something new.
        leaves: set when the model is no longer wanted.
        wakes: set when it is not to wait for its next look.
        report: what is told of it; replaced, never changed.
        trial: the generation of the document that asked for a trial, 0 for none.
        tried: what came of the last one.
    """

    name: str
    wanted: ServedModel
    desired: int
    walls: Walls
    changed: Callable[[], None] = lambda: None
    leaves: Event = field(default_factory=Event)
    wakes: Event = field(default_factory=Event)
    report: ModelReport = field(default_factory=lambda: ModelReport(desired=0, uri=""))
    trial: int = 0
    tried: ModelTrial | None = None
    _looked_at: int = 0
    _taken_up: int = 0
    _trouble: Trouble | None = None
    _down: Trouble | None = None
    _mute_from: float = field(default_factory=lambda: time.monotonic() + _START_SECONDS)

    def want(self, wanted: ServedModel, desired: int, trial: int) -> None:
        """Take a newer document's word."""
        if (desired, trial) != (self.desired, self.trial):
            self.wanted, self.desired, self.trial = wanted, desired, trial
            self.wakes.set()

    def run(self) -> None:
        """Look until the model is no longer wanted."""
        while not self.leaves.is_set():
            self.wakes.clear()
            self.look()
            self.wakes.wait(LOOK_SECONDS)

    def leave(self) -> None:
        """Stop looking, at the next chance."""
        self.leaves.set()
        self.wakes.set()

    def look(self) -> None:
        """One look: take up what the URI means now, or have what answers go on answering."""
        wanted = self.wanted
        if self._looked_at != self.desired:
            # Somebody asks for it, and may have mended what went wrong: it is tried at once.
            self._looked_at, self._trouble, self._down = self.desired, None, None
        try:
            self._take_up(wanted)
        except mlflow.AwayError as error:
            _log.warning("%s: %s", self.name, error.problem)
            # Of what is wanted since, nothing is known yet.
            unknown = self._taken_up != self._looked_at and self._down is None
            self._tell(wanted, None, "waiting for MLflow" if unknown else None)
        except StepError as error:
            _log.error("%s: %s\n%s", self.name, error.problem, error.output)
            self._tell(wanted, told_by(error))
        except Exception as error:  # the others' keepers, and the next look, must go on
            if not isinstance(error, OSError):
                _log.exception("%s", self.name)
            self._tell(wanted, _told(error))

    def _take_up(self, wanted: ServedModel) -> None:
        self._mend()
        self._try()
        try:
            found = registry.find(wanted.uri, mlflow.get)
        except registry.NotFoundError as error:
            raise StepError(str(error)) from error
        service = service_of(self.name, found, wanted)
        if service == served(self.name) and environment_is_there(service):
            self._trouble, self._taken_up = None, self._looked_at
            self._retire_all_but(service)
            self._tell(wanted, None)
            return
        trouble = self._trouble
        if trouble is not None and trouble.of == service:
            if time.monotonic() < trouble.again_at:
                self._tell(wanted, trouble.reason)
                return
        else:
            trouble = None
        try:
            self._switch_to(found, service, wanted)
        except mlflow.AwayError:
            raise
        except Exception as error:
            self._trouble = after(trouble, service, _told(error), time.monotonic())
            self._retire_all_but(served(self.name))
            raise
        self._trouble, self._taken_up = None, self._looked_at
        self._tell(wanted, None)

    def _try(self) -> None:
        """Have the own code of the model that answers predict, when that was asked for."""
        asked, service = self.trial, served(self.name)
        if asked and service and (self.tried is None or self.tried.desired != asked):
            self.tried = tried(self.name, service, asked, self.walls)
            self.changed()

    def _mend(self) -> None:
        """Start again what died: later and later, when it dies again and again."""
        service = served(self.name)
        if service is None or self.leaves.is_set():
            return
        ended = "its server ended"
        settings = known(service)
        most = (settings or self.wanted).memory_mb  # its own, and not what a newer one is to have
        if self._too_large(service, most):
            ended = f"its server took more than the {most} MB it may have"
            self.walls.stop(service)
        elif self.walls.running(service):
            if time.monotonic() < self._mute_from:
                return
            ended = "its server answered no more"
            self.walls.stop(service)
        down = self._down if self._down and self._down.of == service else None
        if down is None or time.monotonic() > down.again_at:
            self._down = after(down, service, ended, time.monotonic())
            self._mute_from = time.monotonic() + _START_SECONDS
            self.walls.start(service)

    def _switch_to(self, found: registry.Found, service: str, wanted: ServedModel) -> None:
        self._doing(wanted, f"fetching version {found.version}")
        files = folders.MODEL_FILES / found.id
        if not files.is_dir():
            # By this name: no other model's keeper may be at the same files.
            staged = folders.MODEL_FILES / f"new-{self.name}"
            try:
                mlflow.download(found, staged)
                os.sync()  # else a power cut might leave empty files under a name that counts
                staged.rename(files)
            finally:
                shutil.rmtree(staged, ignore_errors=True)
        self._doing(wanted, f"installing the packages of version {found.version}")
        files.touch()
        environment = environments.wanted_by(files, _mlflow_version())
        environments.ensure(environment, self.walls)
        self._doing(wanted, f"starting version {found.version}")
        settings = Settings(
            version=found.version,
            files=str(files),
            environment=str(environment.folder),
            memory_mb=wanted.memory_mb,
            request_mb=wanted.request_mb,
            seconds=wanted.seconds,
        )
        self.walls.place(service, settings)
        self.walls.start(service)
        self._must_answer(service, files, wanted)
        if self.leaves.is_set():
            raise StepError("it is no longer wanted")
        older = served(self.name)
        link(folders.SERVED / self.name, _target(service))
        if older is not None and older != service:
            # Whoever the older one has taken in is answered by it.
            connections.wait_until_none(socket_of(older), (known(older) or wanted).seconds)
            if not pings(service):
                link(folders.SERVED / self.name, _target(older))
                log = tail(folders.model_log(service))
                raise StepError("it ended as soon as it was to answer", log)
            self.walls.stop(older)
        self._retire_all_but(service)

    def _must_answer(self, service: str, files: Path, wanted: ServedModel) -> None:
        ended = lambda: not self.walls.running(service)  # noqa: E731
        if not wait_for(lambda: pings(service), _START_SECONDS, gone=ended):
            raise StepError("its server does not come up", tail(folders.model_log(service)))
        example = files / EXAMPLE
        if example.is_file():
            self._must_take(example, service, wanted)
        if self._too_large(service, wanted.memory_mb):
            raise StepError(f"it takes more than the {wanted.memory_mb} MB it may have")

    def _must_take(self, example: Path, service: str, wanted: ServedModel) -> None:
        body = json.loads(example.read_bytes())
        answer = ask(socket_of(service), "/invocations", body=body, timeout=wanted.seconds + 5)
        if answer is None or answer[0] != http.client.OK:
            status, text = answer or ("nothing", "")
            raise StepError(f"its own input example is answered with {status}", text)

    def _too_large(self, service: str, most_mb: int) -> bool:
        return (self.walls.memory(service) or 0) > most_mb << 20

    def _retire_all_but(self, kept: str | None) -> None:
        for service in services_of(self.name):
            if service != kept:
                retire_model(self.walls, service)

    def _doing(self, wanted: ServedModel, what: str) -> None:
        if self.leaves.is_set():
            raise StepError("it is no longer wanted")
        self._tell(wanted, None, what)

    def _tell(self, wanted: ServedModel, reason: str | None, doing: str | None = None) -> None:
        service = served(self.name)
        healthy = service is not None and pings(service)
        if healthy:
            self._mute_from = time.monotonic() + wanted.seconds + _MUTE_SECONDS
        if reason is None and doing is None and not healthy and self._down is not None:
            reason = self._down.reason
        state: Literal["failed", "serving", "preparing"]
        state = "failed" if reason else "serving" if healthy and not doing else "preparing"
        before = self.report
        self.report = ModelReport(
            desired=self._looked_at,
            uri=wanted.uri,
            version=version_of(service),
            state=state,
            doing=doing,
            healthy=healthy,
            reason=reason,
            memory_bytes=self.walls.memory(service) if service is not None else None,
        )
        if before.model_copy(update={"memory_bytes": self.report.memory_bytes}) != self.report:
            self.changed()


def after(before: Trouble | None, of: str, reason: str, now: float) -> Trouble:
    """One more trouble: the pause before the next try doubles each time, up to ten minutes.

    Args:
        before: the last one of that version, or None.
        of: the version's service.
        reason: what went wrong.
        now: seconds of a clock that only goes on.
    """
    times = before.times + 1 if before else 1
    pause = min(_FIRST_PAUSE_SECONDS * 2 ** (times - 1), _LONGEST_PAUSE_SECONDS)
    return Trouble(of, reason, times, now + pause)


def service_of(name: str, found: registry.Found, wanted: ServedModel) -> str:
    """The name of the service that serves a version with its limits."""
    limits = wanted.model_dump(mode="json", exclude={"uri"})
    return f"model-{name}.{content_id([found.id, limits])[:8]}"


def services_of(name: str) -> set[str]:
    """The services of a model that are there."""
    return {file.stem for file in folders.SERVICES.glob(f"model-{name}.*.json")}


def all_services() -> set[str]:
    """The services of all models."""
    return {file.stem for file in folders.SERVICES.glob("model-*.*.json")}


def served(name: str) -> str | None:
    """The service that nginx asks for a model."""
    place = folders.SERVED / name
    return place.readlink().name if place.is_symlink() else None


def stop_serving(walls: Walls, name: str) -> None:
    """Have nginx find no such model, then end its servers."""
    (folders.SERVED / name).unlink(missing_ok=True)
    for service in services_of(name):
        retire_model(walls, service)


def environment_is_there(service: str) -> bool:
    """Whether a server's packages can be used: an update may have taken their Python away."""
    settings = known(service)
    return settings is not None and (Path(settings.environment) / "bin" / "python").exists()


def _told(error: Exception) -> str:
    if isinstance(error, StepError):
        return told_by(error)
    if isinstance(error, OSError):
        return f"{error.strerror or error}: {error.filename or 'no file named'}"
    return f"{type(error).__name__}: {error}"


def _target(service: str) -> Path:
    return Path("..") / (folders.MODEL_SERVERS / service).relative_to(folders.RUN)


def _mlflow_version() -> str:
    """The version of the MLflow that serves now."""
    for start in (folders.LIVE / "services").glob("mlflow-*.sh"):
        if told := re.search(r"MLflow ([0-9.]+[0-9])", start.read_text()):
            return told[1]
    raise StepError("no MLflow serves yet")


def known(service: str | None) -> Settings | None:
    """A server's settings; None of what is not served, or was left half by a power cut."""
    try:
        return settings_of(service) if service else None
    except (OSError, ValueError):
        return None


def version_of(service: str | None) -> str | None:
    """The version of a model that a service serves."""
    settings = known(service)
    return settings.version if settings else None


def retire_model(walls: Walls, service: str) -> None:
    """End one server, and forget it."""
    walls.stop(service)
    for log in folders.LOGS.glob(f"{service}.log*"):
        log.unlink(missing_ok=True)
    walls.forget(service)
    shutil.rmtree(folders.MODEL_SERVERS / service, ignore_errors=True)
    # Last: by it the service is known.
    settings_file(service).unlink(missing_ok=True)


def pings(service: str) -> bool:
    """Whether a model's server has loaded it and answers."""
    answer = ask(socket_of(service), "/ping", timeout=_PING_SECONDS)
    return answer is not None and answer[0] == http.client.OK
