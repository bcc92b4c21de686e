"""Has each wanted model kept served, by threads of its own, and reports how they do."""

import logging
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Event, Thread

from trackstack.agent import folders
from trackstack.agent.machine import StepError
from trackstack.agent.models import unused
from trackstack.agent.models.asked import Asked
from trackstack.agent.models.keeper import Keeper
from trackstack.agent.models.services import all_services, stop_serving
from trackstack.agent.models.trouble import told_by
from trackstack.agent.models.walls import Walls
from trackstack.control.base import ConflictError, ControlStore, read
from trackstack.desired import ModelReport, Models, ModelTrial, ObservedModels
from trackstack.errors import TrackstackError

_LOOK_SECONDS = 0.3
"""How often it is looked whether the agent has put down another wish."""
_REPORTS_A_HEARTBEAT = 3
_AGAIN_SECONDS = 1.0

_log = logging.getLogger("trackstack.models")


@dataclass
class Kept:
    """A model's keeper, and the threads that it works in."""

    keeper: Keeper
    threads: tuple[Thread, ...]

    def at_work(self) -> bool:
        """Whether it has not left yet."""
        return any(each.is_alive() for each in self.threads)


@dataclass
class Reporter:
    """Writes how the models do, when that has changed or is old.

    Attributes:
        walls: those there are, or may be.
        trials: the last one of each model; also those of an earlier run.
    """

    store: ControlStore
    walls: Walls
    trials: dict[str, ModelTrial] = field(default_factory=dict)
    _asked: Asked = field(default_factory=Asked)
    _generation: int = 0
    _tag: str | None = None
    _written: ObservedModels | None = None
    _written_at: float = 0.0

    def read(self) -> None:
        """Take up what an earlier run has told."""
        try:
            told, self._tag = read(self.store, ObservedModels)
        except (TrackstackError, OSError) as error:
            _log.error("the last report on models cannot be read: %s", error)
        else:
            self._generation = told.generation if told else 0
            self.trials = told.trials if told else {}

    def write(self, desired: int, reports: dict[str, ModelReport]) -> None:
        """Put a report in the store; one that cannot be written is only logged."""
        self._asked.look()
        report = ObservedModels(
            generation=self._generation + 1,
            desired=desired,
            walls=self.walls.there(),
            heartbeat=datetime.now(UTC),
            models={name: self._with_requests(name, each) for name, each in reports.items()},
            trials=self.trials,
        )
        old = time.monotonic() >= self._written_at + self.store.heartbeat_seconds
        if self._written is not None and not old and _same(self._written, report):
            return
        try:
            self._put(report.to_bytes())
        except (TrackstackError, OSError) as error:
            _log.error("the report on models cannot be written: %s", error)
        else:
            self._generation += 1
            self._written, self._written_at = report, time.monotonic()

    def _with_requests(self, name: str, report: ModelReport) -> ModelReport:
        asked = {"requests": self._asked.counts.get(name, 0), "p50_ms": self._asked.p50_ms(name)}
        return report.model_copy(update=asked)

    def _put(self, data: bytes) -> None:
        while True:
            try:
                self._tag = self.store.put(ObservedModels.KEY, data, expect=self._tag)
            except ConflictError:
                stored = self.store.get(ObservedModels.KEY)
                self._tag = stored.tag if stored else None
            else:
                return


def _same(one: ObservedModels, other: ObservedModels) -> bool:
    """Whether two reports say the same, but for a little more or less memory."""
    return _essence(one) == _essence(other)


def _essence(report: ObservedModels) -> ObservedModels:
    models = {
        name: each.model_copy(update={"memory_bytes": 0}) for name, each in report.models.items()
    }
    same = {"generation": 1, "heartbeat": datetime.min.replace(tzinfo=UTC), "models": models}
    return report.model_copy(update=same)


def serve(store: ControlStore, walls: Walls) -> None:
    """Keep the models of the document served; returns when it has none."""
    kept: dict[str, Kept] = {}
    leaving: dict[str, Kept] = {}
    reporter = Reporter(store, walls)
    reporter.read()
    changed = Event()
    watcher = Thread(target=_watch, args=(changed,), daemon=True)
    watcher.start()
    while True:
        changed.clear()
        wanted = Models.from_bytes(folders.MODELS_WANTED.read_bytes())
        models = wanted.models if wanted.code_allowed else {}
        for name in list(kept):
            if name not in models:
                leaving[name] = kept.pop(name)
                leaving[name].keeper.leave()
        leaving = {name: each for name, each in leaving.items() if each.at_work()}
        left = _forget_all_but(set(models), walls)
        for name, model in models.items():
            if name not in kept and name not in leaving:  # two would be in each other's way
                keeper = Keeper(name, model, wanted.generation, walls, changed.set)
                keeper.tried = reporter.trials.get(name)
                kept[name] = _keep(keeper)
            if name in kept:
                kept[name].keeper.want(model, wanted.generation, wanted.trials.get(name, 0))
        trials = {name: each.keeper.tried for name, each in kept.items()}
        reporter.trials = {name: tried for name, tried in trials.items() if tried is not None}
        reports = {name: each.keeper.report for name, each in kept.items()}
        ending = ModelReport(desired=wanted.generation, uri="", doing="ending")
        reports |= {name: ending.model_copy(update={"reason": why}) for name, why in left.items()}
        reporter.write(wanted.generation, reports)
        if not any(report.doing for report in reports.values()):
            unused.drop()
        if not models and not left:
            return
        pause = store.heartbeat_seconds / _REPORTS_A_HEARTBEAT
        changed.wait(_AGAIN_SECONDS if leaving or left else pause)


def _watch(changed: Event) -> None:
    """Look for another wish: the agent puts it down, which has to ask the store anyway."""
    seen = _stamp()
    while True:
        time.sleep(_LOOK_SECONDS)
        if (now := _stamp()) != seen:
            seen = now
            changed.set()


def _stamp() -> tuple[int, int]:
    told = folders.MODELS_WANTED.stat()
    return told.st_ino, told.st_mtime_ns


def _keep(keeper: Keeper) -> Kept:
    threads = tuple(Thread(target=each, daemon=True) for each in (keeper.run, keeper.watch))
    for each in threads:
        each.start()
    return Kept(keeper, threads)


def _forget_all_but(names: set[str], walls: Walls) -> dict[str, str]:
    """End the servers of models that are not wanted, also those of an earlier run.

    Returns:
        Which models' could not be ended, and why.
    """
    there = {service.removeprefix("model-").rpartition(".")[0] for service in all_services()}
    there |= {place.name for place in folders.SERVED.iterdir()}
    left = dict[str, str]()
    for name in there - names:
        try:
            stop_serving(walls, name)
        except (StepError, OSError) as error:
            _log.error("%s could not be ended: %s", name, error)
            left[name] = told_by(error)
    return left
