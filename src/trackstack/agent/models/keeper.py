"""Keeps one model served: its newest version answers, or the one before it goes on."""

import http.client
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock
from typing import Literal

from trackstack.agent import folders
from trackstack.agent.machine import StepError, ask, tail, wait_for
from trackstack.agent.models import connections, environments, mlflow, registry
from trackstack.agent.models.compiling import compile_soon
from trackstack.agent.models.inside import EXAMPLE
from trackstack.agent.models.requirements import wanted_by
from trackstack.agent.models.services import (
    environment_is_there,
    have_nginx_ask,
    known,
    pings,
    retire_model,
    served,
    service_of,
    services_of,
    takes_more_than,
    version_of,
)
from trackstack.agent.models.settings import Settings, socket_of
from trackstack.agent.models.trial import tried
from trackstack.agent.models.trouble import Trouble, after, told_by
from trackstack.agent.models.walls import Walls
from trackstack.agent.models.watchdog import START_SECONDS, Watchdog
from trackstack.desired import ModelReport, ModelTrial, ServedModel

LOOK_SECONDS = 2.0
"""How often it is asked what an alias points at, and how what serves does."""

_log = logging.getLogger("trackstack.models")


@dataclass
class Keeper:
    """Keeps one model served at the version that is wanted.

    `run` and `watch` are called by a thread each: what serves is looked after while what comes next
    is prepared.

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
    _reporting: "Lock" = field(default_factory=Lock)
    _told: tuple[int, ServedModel, str | None, str | None] = field(init=False)

    def __post_init__(self) -> None:
        self.watchdog = Watchdog(self.name, self.walls, self.leaves)
        self._told = 0, self.wanted, None, "looking what it is"

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

    def watch(self) -> None:
        """Look after what serves until the model is no longer wanted."""
        while not self.leaves.is_set():
            self.look_after()
            self.leaves.wait(LOOK_SECONDS)

    def look_after(self) -> None:
        """One look at what serves: have it go on, and tell how it does."""
        self.watchdog.look(self.wanted)
        self._report()

    def leave(self) -> None:
        """Stop looking, at the next chance."""
        self.leaves.set()
        self.wakes.set()

    def look(self) -> None:
        """One look at the registry: take up what the URI means now."""
        # In this order: `want` sets them in the other.
        desired, wanted = self.desired, self.wanted
        if self._looked_at != desired:
            # Somebody asks for it, and may have mended what went wrong: it is tried at once.
            self._looked_at, self._trouble = desired, None
            self.watchdog.down = None
        try:
            self._take_up(wanted)
        except mlflow.AwayError as error:
            _log.warning("%s: %s", self.name, error.problem)
            # Of what is wanted since, nothing is known yet.
            unknown = self._taken_up != self._looked_at and self.watchdog.why_down() is None
            self._tell(wanted, None, "waiting for MLflow" if unknown else None)
        except StepError as error:
            _log.error("%s: %s\n%s", self.name, error.problem, error.output)
            self._tell(wanted, told_by(error))
        except Exception as error:  # the others' keepers, and the next look, must go on
            if not isinstance(error, OSError):
                _log.exception("%s", self.name)
            self._tell(wanted, told_by(error))

    def _take_up(self, wanted: ServedModel) -> None:
        walled = self.walls.there()
        serves = known(served(self.name))
        if serves is not None and serves.walled and not walled:
            # Whoever agreed to run it was told that it is shut off.
            raise StepError(
                "the walls that it was placed in cannot be put up now: mend bubblewrap, or have it "
                f"run without by `trackstack models stop {self.name}` and serving it again"
            )
        self._try()
        try:
            found = registry.find(wanted.uri, mlflow.get)
        except registry.NotFoundError as error:
            raise StepError(str(error)) from error
        service = service_of(self.name, found, wanted, walled)
        if service == served(self.name) and environment_is_there(service):
            self._trouble, self._taken_up = None, self._looked_at
            self._retire_all_but(service)
            self._tell(wanted, None)
            if self.watchdog.healthy and (settings := known(service)) is not None:
                compile_soon(Path(settings.environment))
            return
        trouble = self._trouble
        if trouble is not None and trouble.of == service:
            if time.monotonic() < trouble.again_at:
                self._tell(wanted, trouble.reason)
                return
        else:
            trouble = None
        try:
            self._prepare(found, service, wanted, walled)
        except mlflow.AwayError:
            raise
        except Exception as error:
            self._trouble = after(trouble, service, told_by(error), time.monotonic())
            self._retire_all_but(served(self.name))
            raise
        self._trouble, self._taken_up = None, self._looked_at
        self._tell(wanted, None)

    def _try(self) -> None:
        """Have the own code of the model that answers predict, when that was asked for."""
        asked, service = self.trial, served(self.name)
        if asked and service and (self.tried is None or self.tried.desired < asked):
            self.tried = tried(self.name, service, asked, self.walls)
            self.changed()

    def _prepare(
        self, found: registry.Found, service: str, wanted: ServedModel, walled: bool
    ) -> None:
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
        environment = wanted_by(files, _mlflow_version())
        environments.ensure(environment, self.walls)
        self._doing(wanted, f"starting version {found.version}")
        settings = Settings(
            version=found.version,
            files=str(files),
            environment=str(environment.folder),
            memory_mb=wanted.memory_mb,
            request_mb=wanted.request_mb,
            seconds=wanted.seconds,
            walled=walled,
        )
        # What serves may have to be started anew itself; nobody else is to do so meanwhile.
        beside = service != served(self.name)
        with nullcontext() if beside else self.watchdog.switching:
            self.walls.place(service, settings)
            self.walls.start(service)
            self._must_answer(service, files, wanted)
        if self.leaves.is_set():
            self.walls.stop(service)  # who had all of them stopped may not have seen this one
            raise StepError("it is no longer wanted")
        with self.watchdog.switching:
            self._switch_from(served(self.name), service, wanted)
        self._retire_all_but(service)

    def _switch_from(self, older: str | None, service: str, wanted: ServedModel) -> None:
        have_nginx_ask(self.name, service)
        if older is None or older == service:
            return
        # Whoever the older one has taken in is answered by it.
        connections.wait_until_none(socket_of(older), (known(older) or wanted).seconds)
        if not pings(service):
            have_nginx_ask(self.name, older)
            log = tail(folders.model_log(service))
            raise StepError("it ended as soon as it was to answer", log)
        self.walls.stop(older)

    def _must_answer(self, service: str, files: Path, wanted: ServedModel) -> None:
        ended = lambda: not self.walls.running(service)  # noqa: E731
        if not wait_for(lambda: pings(service), START_SECONDS, gone=ended):
            raise StepError("its server does not come up", tail(folders.model_log(service)))
        example = files / EXAMPLE
        if example.is_file():
            self._must_take(example, service, wanted)
        if takes_more_than(wanted.memory_mb, service, self.walls):
            raise StepError(f"it takes more than the {wanted.memory_mb} MB it may have")

    def _must_take(self, example: Path, service: str, wanted: ServedModel) -> None:
        if example.stat().st_size > wanted.request_mb << 20:
            raise StepError(
                f"its own input example is larger than the {wanted.request_mb} MB that a request "
                "may have; say more with `--request`"
            )
        body = json.loads(example.read_bytes())
        answer = ask(socket_of(service), "/invocations", body=body, timeout=wanted.seconds + 5)
        if answer is None or answer[0] != http.client.OK:
            status, text = answer or ("nothing", "")
            raise StepError(f"its own input example is answered with {status}", text)

    def _retire_all_but(self, kept: str | None) -> None:
        for service in services_of(self.name):
            if service != kept:
                retire_model(self.walls, service)

    def _doing(self, wanted: ServedModel, what: str) -> None:
        if self.leaves.is_set():
            raise StepError("it is no longer wanted")
        self._tell(wanted, None, what)

    def _tell(self, wanted: ServedModel, reason: str | None, doing: str | None = None) -> None:
        self._told = self._looked_at, wanted, reason, doing
        self.watchdog.measure(wanted)
        self._report()

    def _report(self) -> None:
        with self._reporting:
            looked_at, wanted, reason, doing = self._told
            healthy = self.watchdog.healthy
            if reason is None and doing is None and not healthy:
                reason = self.watchdog.why_down()
            state: Literal["failed", "serving", "preparing"]
            state = "failed" if reason else "serving" if healthy and not doing else "preparing"
            before = self.report
            self.report = ModelReport(
                desired=looked_at,
                uri=wanted.uri,
                version=version_of(served(self.name)),
                state=state,
                doing=doing,
                healthy=healthy,
                reason=reason,
                memory_bytes=self.watchdog.memory_bytes,
            )
        if before.model_copy(update={"memory_bytes": self.report.memory_bytes}) != self.report:
            self.changed()


def _mlflow_version() -> str:
    """The version of the MLflow that serves now."""
    for start in (folders.LIVE / "services").glob("mlflow-*.sh"):
        if told := re.search(r"MLflow ([0-9.]+[0-9])", start.read_text()):
            return told[1]
    raise StepError("no MLflow serves yet")
