"""Has each wanted model kept served, by a thread of its own, and reports how they do."""

import logging
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Event, Thread

from trackstack.agent import folders
from trackstack.agent.machine import Machine, StepError
from trackstack.agent.models import unused, walls
from trackstack.agent.models.asked import Asked
from trackstack.agent.models.keeper import Keeper, all_services, stop_serving
from trackstack.control.base import ConflictError, ControlStore, read
from trackstack.desired import ModelReport, Models, ObservedModels, ServedModel
from trackstack.errors import TrackstackError

_REPORT_SECONDS = 10.0
_AGAIN_SECONDS = 1.0

_log = logging.getLogger("trackstack.models")


@dataclass
class Kept:
    """A model's keeper, and the thread that it works in."""

    keeper: Keeper
    thread: Thread


@dataclass
class Reporter:
    """Writes how the models do, when that has changed or is old."""

    store: ControlStore
    asked: Asked = field(default_factory=Asked)
    _generation: int = 0
    _tag: str | None = None
    _written: ObservedModels | None = None

    def write(self, desired: int, reports: dict[str, ModelReport]) -> None:
        """Put a report in the store; one that cannot be written is only logged."""
        self.asked.look()
        self._generation += 1
        report = ObservedModels(
            generation=self._generation,
            desired=desired,
            walls=walls.there(),
            heartbeat=datetime.now(UTC),
            models={name: self._with_requests(name, each) for name, each in reports.items()},
        )
        try:
            self._put(report.to_bytes())
        except (TrackstackError, OSError) as error:
            _log.error("the report on models cannot be written: %s", error)

    def _with_requests(self, name: str, report: ModelReport) -> ModelReport:
        asked = {"requests": self.asked.counts.get(name, 0), "p50_ms": self.asked.p50_ms(name)}
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


def serve(store: ControlStore, machine: Machine) -> None:
    """Keep the models of the document served; returns when it has none."""
    kept: dict[str, Kept] = {}
    leaving: dict[str, Kept] = {}
    reporter = Reporter(store)
    changed = Event()
    watcher = Thread(target=_watch, args=(store, changed), daemon=True)
    watcher.start()
    generation, models = 0, dict[str, ServedModel]()
    while True:
        changed.clear()
        try:
            wanted = read(store, Models)[0]
        except (TrackstackError, OSError) as error:
            _log.error("which models are wanted cannot be read: %s", error)
            if not generation:  # what was wanted before is not known either: all stays as it is
                time.sleep(_AGAIN_SECONDS)
                continue
        else:
            models = wanted.models if wanted and wanted.code_allowed else {}
            generation = wanted.generation if wanted else 0
        for name in list(kept):
            if name not in models:
                leaving[name] = kept.pop(name)
                leaving[name].keeper.leave()
        leaving = {name: each for name, each in leaving.items() if each.thread.is_alive()}
        left = _forget_all_but(set(models), machine)
        for name, model in models.items():
            if name in kept:
                kept[name].keeper.want(model, generation)
            elif name not in leaving:  # two at once would be in each other's way
                kept[name] = _keep(Keeper(name, model, generation, machine, changed.set))
        reports = {name: each.keeper.report for name, each in kept.items()}
        reports |= {name: ModelReport(desired=generation, uri="", doing="ending") for name in left}
        reporter.write(generation, reports)
        if not any(report.doing for report in reports.values()):
            unused.drop()
        if not models and not left:
            return
        changed.wait(_AGAIN_SECONDS if leaving or left else _REPORT_SECONDS)


def _watch(store: ControlStore, changed: Event) -> None:
    tag: str | None = None
    while True:
        try:
            if store.wait_for_change({Models.KEY: tag}, _REPORT_SECONDS):
                stored = store.get(Models.KEY)
                tag = stored.tag if stored else None
                changed.set()
        except (TrackstackError, OSError) as error:
            _log.error("the control store is away: %s", error)
            time.sleep(_AGAIN_SECONDS)


def _keep(keeper: Keeper) -> Kept:
    thread = Thread(target=keeper.run, daemon=True)
    thread.start()
    return Kept(keeper, thread)


def _forget_all_but(names: set[str], machine: Machine) -> set[str]:
    """End the servers of models that are not wanted, also those of an earlier run.

    Returns:
        Which models' could not be ended.
    """
    there = {service.removeprefix("model-").rpartition(".")[0] for service in all_services()}
    there |= {place.name for place in folders.SERVED.iterdir()}
    left = set[str]()
    for name in there - names:
        try:
            stop_serving(machine, name)
        except (StepError, OSError) as error:
            _log.error("%s could not be ended: %s", name, error)
            left.add(name)
    return left
