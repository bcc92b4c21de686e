"""Serves models behind the environment's users."""

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from trackstack import names
from trackstack.agent.models import registry
from trackstack.control.base import change, read
from trackstack.desired import (
    ModelName,
    ModelReport,
    Models,
    ModelTrial,
    ModelUri,
    ObservedModels,
    Part,
    ServedModel,
)
from trackstack.environment import Environment
from trackstack.errors import BusyError, NotProvenError, TrackstackError, UsageError
from trackstack.operations import users, waiting
from trackstack.tracking import Tracking

OnReport = Callable[[ModelReport], None]

_TRIAL_SECONDS = 300

_NAME = TypeAdapter(ModelName)
_URI = TypeAdapter(ModelUri)


def checked_uri(uri: str) -> str:
    """A model's URI as a person typed it.

    Raises:
        UsageError: it is none.
    """
    try:
        return str(_URI.validate_python(uri))
    except ValidationError as error:
        raise UsageError(
            f"{uri!r} is not the URI of a model.",
            "Write models:/NAME/VERSION, models:/NAME@ALIAS, models:/NAME/STAGE or runs:/RUN/PATH.",
        ) from error


def name_for(uri: str, asked: str | None) -> str:
    """What a model is served as: what was asked for, or its registered name when that fits.

    Raises:
        UsageError: the name does not fit.
    """
    folded = re.sub(r"[^a-z0-9]+", "-", re.split("[/@]", uri[8:])[0].lower()).strip("-")[:40]
    name = asked if asked is not None else folded if uri.startswith("models:/") else ""
    try:
        return str(_NAME.validate_python(name))
    except ValidationError as error:
        told = f"{name!r} is not a name to serve a model as." if name else "It needs a name."
        raise UsageError(
            told, "Say one with `--as`: 1 to 40 of the letters a-z, digits and '-'."
        ) from error


def must_be_possible(environment: Environment) -> None:
    """Refuse, before anything changes, an environment that cannot serve models.

    Raises:
        UsageError: it does not run.
    """
    environment.existing_record()
    if not environment.target.running():
        raise UsageError(
            f"Environment {environment.name!r} does not run.",
            f"Start it with `trackstack deploy {environment.kind} -e {environment.name}`.",
        )


def code_is_allowed(environment: Environment) -> bool:
    """Whether somebody agreed once that models' code runs there."""
    current, _ = read(environment.target.store, Models)
    return current is not None and current.code_allowed


def serve(
    environment: Environment,
    name: str,
    model: ServedModel,
    allow_code: bool,
    on_report: OnReport = lambda _: None,
) -> ModelReport:
    """Have a model served, and wait until it answers.

    Args:
        environment: one that `must_be_possible` let pass.
        name: what it is served as; a model that is served so gives way when the new one answers.
        model: which, and its limits.
        allow_code: whether to record that models' code may run there.
        on_report: told what is being done.

    Raises:
        UsageError: nobody agreed to models' code, or MLflow has no such model; nothing changed.
        NotProvenError: it does not come up; what was served before goes on.
        BusyError: somebody else stops it meanwhile, or serves another one as that.
    """
    if not (allow_code or code_is_allowed(environment)):
        raise UsageError(
            "A model is somebody's code, and serving is off until somebody agrees to run it.",
            "Say `--allow-model-code` once for this environment.",
        )
    _must_be_there(environment, model.uri)

    def apply(before: Models | None) -> dict[str, object]:
        models = before.models if before else {}
        return {
            "code_allowed": allow_code or (before is not None and before.code_allowed),
            "models": models | {name: model},
            "trials": before.trials if before else {},
        }

    agreed = " and allow model code" if allow_code and not code_is_allowed(environment) else ""
    written = change(environment.target.store, Models, f"serve {name}: {model.uri}{agreed}", apply)
    for report in _reports(environment, written.generation, name):
        if report is None or report.uri != model.uri:
            now, _ = read(environment.target.store, Models)
            if now is None or now.models.get(name) != model:
                raise _overtaken(name, "stopped it, or serves another model as that")
            continue
        if report.desired < written.generation:
            continue
        on_report(report)
        if report.state == "failed":
            raise NotProvenError(
                f"Model {name!r} is not served: {report.reason}."
                if report.version is None
                else f"Model {name!r} stays at version {report.version}: {report.reason}.",
                f"It is tried again by itself; `trackstack models stop {name}` gives it up.",
            )
        if report.state == "serving" and report.doing is None:
            return report
    raise AssertionError  # the reports never end


def stop(environment: Environment, name: str) -> None:
    """Serve a model no longer; returns when it is gone.

    Raises:
        UsageError: none is served so.
        NotProvenError: it could not be ended.
        BusyError: somebody else serves one as that meanwhile.
    """
    must_be_served(environment, name)

    def apply(before: Models | None) -> dict[str, object]:
        there = _must_be_served(name, before)
        return {
            "code_allowed": there.code_allowed,
            "models": {other: model for other, model in there.models.items() if other != name},
            "trials": {other: asked for other, asked in there.trials.items() if other != name},
        }

    written = change(environment.target.store, Models, f"stop serving {name}", apply)
    if environment.target.running():
        failed = False
        for report in _reports(environment, written.generation, name):
            if report is None:
                return
            if report.uri:
                now, _ = read(environment.target.store, Models)
                if now is not None and name in now.models:
                    raise _overtaken(name, "serves a model as that again")
            elif report.reason and not failed:
                failed = True  # the machine tries again at once, and tells how that went
            elif report.reason:
                raise NotProvenError(
                    f"Model {name!r} is not wanted any more, but could not be ended: "
                    f"{report.reason}.",
                    "It is tried again by itself.",
                )


def _overtaken(name: str, what: str) -> BusyError:
    return BusyError(
        f"Somebody else changed {name!r} meanwhile: {what}.",
        "`trackstack models list` shows how it is now.",
    )


def must_be_served(environment: Environment, name: str) -> None:
    """Raise UsageError, with the nearest name, when no model is served so."""
    _must_be_served(name, read(environment.target.store, Models)[0])


def tried(environment: Environment, name: str) -> ModelTrial:
    """What a served model's own code predicts for its input example, on the machine.

    Raises:
        UsageError: no model is served so.
        NotProvenError: the machine does not say.
    """

    def apply(before: Models | None) -> dict[str, object]:
        there = _must_be_served(name, before)
        return there.model_dump() | {"trials": there.trials | {name: there.generation + 1}}

    store = environment.target.store
    written = change(store, Models, f"try {name}", apply)
    for observed in _observed(environment, _TRIAL_SECONDS):
        trial = observed.trials.get(name) if observed else None
        # Of two who ask for the same at once, the later one's is the earlier one's too.
        if trial is not None and trial.desired >= written.generation:
            return trial
    raise NotProvenError(
        f"The machine did not say within {_TRIAL_SECONDS} s what the code of {name!r} predicts.",
        f"`trackstack models list -e {environment.name}` says how it does; try again.",
    )


class Listed(Part):
    """The models that are to be served.

    Attributes:
        walls: whether their code is shut off; None while the machine has not said so.
        models: how each does, by name.
    """

    walls: bool | None
    models: dict[str, ModelReport]


def listed(environment: Environment) -> Listed:
    """How each wanted model does."""
    wanted, _ = read(environment.target.store, Models)
    seen, _ = read(environment.target.store, ObservedModels)
    told = seen.models if seen and environment.target.running() else {}
    models = {
        name: told.get(name, ModelReport(desired=0, uri=model.uri))
        for name, model in sorted((wanted.models if wanted else {}).items())
    }
    return Listed(walls=seen.walls if seen else None, models=models)


def _reports(environment: Environment, generation: int, name: str) -> Iterator[ModelReport | None]:
    """What the machine says of a model, each time it says something; None while it has none."""
    for observed in _observed(environment):
        if observed is not None and observed.desired >= generation:
            yield observed.models.get(name)


def _observed(
    environment: Environment, seconds: float = math.inf
) -> Iterator[ObservedModels | None]:
    """What the machine says of its models, each time it says something, for so long."""
    store = environment.target.store
    until = time.monotonic() + seconds
    stale = waiting.report_tag(environment)
    while time.monotonic() < until:
        seen, tag = read(store, ObservedModels)
        yield seen
        while time.monotonic() < until and not store.wait_for_change(
            {ObservedModels.KEY: tag}, timeout=1.0
        ):
            _must_work(environment, stale)


def _must_work(environment: Environment, stale: str | None) -> None:
    """Raise when the machine does not run, or has told since that it cannot serve models."""
    if not environment.target.running():
        raise TrackstackError(
            f"The machine of environment {environment.name!r} does not run.",
            "Start it again with the command that deployed it.",
        )
    age = waiting.report_age(environment) if environment.place else None
    if age is not None and age > waiting.SILENT:
        raise TrackstackError(
            f"The machine of environment {environment.name!r} has said nothing for "
            f"{age.total_seconds() / 60:.0f} minutes.",
            f"What is wanted stands in its store; `trackstack status -e {environment.name}` says "
            "more.",
        )
    told, tag = waiting.last_report(environment)
    failed = told.failed_step() if told else None
    if failed and failed.name == "models" and tag != stale:
        raise waiting.failure(failed)


def _must_be_there(environment: Environment, uri: str) -> None:
    """Ask MLflow for the model, with a login of the kit's own."""
    login = users.own_login(environment)
    if login is not None:
        with environment.tracking(login.user, login.password) as tracking:
            _find(tracking, uri)
        return
    with (
        users.temporary(environment, "models") as made,
        environment.tracking(made.user, made.password) as tracking,
    ):
        _find(tracking, uri)


def _find(tracking: Tracking, uri: str) -> None:
    def ask(method: str, query: Mapping[str, str]) -> dict[str, Any] | None:
        return tracking.get(method, dict(query), none=registry.NO_SUCH_THING)

    try:
        registry.find(uri, ask)
    except registry.NotFoundError as error:
        raise UsageError(
            f"{str(error)[0].upper()}{str(error)[1:]}; nothing was changed.",
            "MLflow's page of models shows those there are.",
        ) from error


def _must_be_served(name: str, models: Models | None) -> Models:
    if models is None or name not in models.models:
        near = names.nearest(name, models.models if models else {})
        raise UsageError(
            f"No model is served as {name!r}; nothing was changed.",
            f"Did you mean {near!r}?" if near else "`trackstack models list` shows them.",
        )
    return models
