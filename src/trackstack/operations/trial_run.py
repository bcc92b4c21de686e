"""A run that verify logs, reads back and removes for good."""

import hashlib
import os
import platform
import time
from collections.abc import Iterator

from trackstack.control.base import change
from trackstack.desired import Applied, Cleanup
from trackstack.environment import Environment
from trackstack.operations.receipt import MissError, Prover
from trackstack.operations.waiting import wait_until_applied
from trackstack.tracking import Tracking

EXPERIMENT = "trackstack-verify"

_METRICS = 1000
_ARTIFACT_BYTES = 64 << 20
_CHUNK = 1 << 20
_ABANDONED_MS = 15 * 60 * 1000
_MODEL_TAG = "trackstack.model"


def prove_tracking(prover: Prover, environment: Environment, tracking: Tracking) -> None:
    """Log a run with all that belongs to it, read it back and remove it."""
    run: dict[str, str] = {}
    model = _model_name()

    def log_run() -> str:
        run.update(_start_run(tracking))
        return f"run {run['run_id']}"

    if prover.check(f"a run is logged in the experiment {EXPERIMENT}", log_run):
        prover.check(
            f"{_METRICS:,} metrics are logged and read back", lambda: _metrics(tracking, run)
        )
        prover.check(
            f"an artifact of {_ARTIFACT_BYTES >> 20} MB goes up and comes back the same",
            lambda: _artifact(tracking, run),
        )
        prover.check(
            "a model version is registered and found by its alias",
            lambda: _registry(tracking, run, model),
        )
    prover.check("all of it is removed for good", lambda: _clean_up(environment, tracking))


def _start_run(tracking: Tracking) -> dict[str, str]:
    found = tracking.experiment(EXPERIMENT)
    if found is None:
        experiment = tracking.create_experiment(EXPERIMENT)
    else:
        experiment = str(found["experiment_id"])
        if found["lifecycle_stage"] == "deleted":
            tracking.restore_experiment(experiment)
    info = tracking.create_run(experiment, platform.node(), _now_ms())
    # A logged model of its own, named on the run: the clean-up must name one, and a deleted
    # model is found by nobody.
    model = tracking.create_model(experiment, str(info["run_id"]), "verify")
    tracking.tag_run(str(info["run_id"]), _MODEL_TAG, model)
    return {
        "run_id": str(info["run_id"]),
        "experiment_id": experiment,
        "artifact_uri": str(info["artifact_uri"]),
    }


def _metrics(tracking: Tracking, run: dict[str, str]) -> str:
    values = [step / 7 for step in range(_METRICS)]
    tracking.log_metrics(run["run_id"], "loss", values, _now_ms())
    found = tracking.metrics(run["run_id"], "loss")
    if found != values:
        raise MissError(f"{len(found)} came back, not the {len(values)} that were logged")
    return "equal"


def _artifact(tracking: Tracking, run: dict[str, str]) -> str:
    path = f"{run['artifact_uri'].removeprefix('mlflow-artifacts:').lstrip('/')}/verify.bin"
    sent, received = hashlib.sha256(), hashlib.sha256()

    def content() -> Iterator[bytes]:
        for _ in range(_ARTIFACT_BYTES // _CHUNK):
            chunk = os.urandom(_CHUNK)
            sent.update(chunk)
            yield chunk

    tracking.upload(path, content())
    for chunk in tracking.download(path):
        received.update(chunk)
    if sent.digest() != received.digest():
        raise MissError(f"sent {sent.hexdigest()}, received {received.hexdigest()}")
    return f"sha256 {sent.hexdigest()[:16]}…"


def _registry(tracking: Tracking, run: dict[str, str], model: str) -> str:
    if any(tracking.registered(like=model)):
        tracking.unregister(model)
    version = tracking.register(model, run["run_id"], f"{run['artifact_uri']}/model")
    tracking.set_alias(model, "proven", version)
    found = tracking.version_of_alias(model, "proven")
    if found != version:
        raise MissError(f"the alias leads to version {found}, not {version}")
    return f"version {version}"


def _clean_up(environment: Environment, tracking: Tracking) -> str:
    """Remove this verify's traces, and those of one that was killed before.

    Only one verify runs at a time on a computer, so all that carries this computer's name is
    this verify's or a dead one's; what another computer's left is taken after 15 minutes.
    """
    for registered in list(tracking.registered(like=f"{EXPERIMENT}-%")):
        if registered["name"] == _model_name() or _abandoned(registered["creation_timestamp"]):
            tracking.unregister(registered["name"])
    found = tracking.experiment(EXPERIMENT)
    if found is None:
        return "there was nothing"
    experiment = str(found["experiment_id"])
    runs = list(tracking.runs(experiment))
    for info in (each["info"] for each in runs if each["info"]["lifecycle_stage"] == "active"):
        if info["run_name"] != platform.node() and not _abandoned(info["start_time"]):
            return "left to another computer's verify, which is at work now"
        tracking.delete_run(info["run_id"])
    tags = (tag for each in runs for tag in each["data"].get("tags", []))
    models = {tag["value"] for tag in tags if tag["key"] == _MODEL_TAG}
    for info in list(tracking.models(experiment)):
        models.add(info["model_id"])
        tracking.delete_model(info["model_id"])
    tracking.delete_experiment(experiment)
    if runs and models:
        _collect(environment, experiment, [each["info"]["run_id"] for each in runs], sorted(models))
    if tracking.experiment(EXPERIMENT) is not None:
        raise MissError(f"the experiment {EXPERIMENT} is still in the database")
    return f"{len(runs)} run{'s' if len(runs) != 1 else ''}, with artifacts and models"


def _collect(environment: Environment, experiment: str, runs: list[str], models: list[str]) -> None:
    content: dict[str, object] = {
        "runs": tuple(runs),
        "models": tuple(models),
        "experiment": experiment,
    }
    written = change(environment.target.store, Cleanup, "clean up after verify", lambda _: content)
    wait_until_applied(environment, Applied(cleanup=written.generation))


def _model_name() -> str:
    return f"{EXPERIMENT}-{hashlib.sha256(platform.node().encode()).hexdigest()[:8]}"


def _abandoned(started_ms: int | str) -> bool:
    return _now_ms() - int(started_ms) > _ABANDONED_MS


def _now_ms() -> int:
    return int(time.time() * 1000)
