"""The agent's rounds: run every step, report, wait until something else is desired."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from trackstack.agent import folders, itself
from trackstack.agent.desired_state import DesiredState
from trackstack.agent.ensure_audited import ensure_audited
from trackstack.agent.ensure_certificates import ensure_certificates
from trackstack.agent.ensure_cleaned import cleaned_generation, ensure_cleaned
from trackstack.agent.ensure_database import ensure_database
from trackstack.agent.ensure_logs import ensure_logs
from trackstack.agent.ensure_mlflow import ensure_mlflow
from trackstack.agent.ensure_models import ensure_models
from trackstack.agent.ensure_nginx import ensure_nginx
from trackstack.agent.ensure_release import (
    ensure_files,
    ensure_folders,
    ensure_packages,
    ensure_retired,
    ensure_secrets,
    live_release_id,
    stop_all_but,
)
from trackstack.agent.ensure_stores import ensure_stores
from trackstack.agent.ensure_users import ensure_users
from trackstack.agent.machine import Machine, StepError
from trackstack.agent.report import Reporter
from trackstack.agent.round import Round, generation
from trackstack.agent.show_logs import SECONDS, show_logs
from trackstack.agent.tell_last_seen import tell_last_seen
from trackstack.control.base import ControlStore
from trackstack.desired import Applied, StepReport, Users, expiries
from trackstack.errors import TrackstackError

_FIRST_RETRY_SECONDS = 5.0
_LONGEST_RETRY_SECONDS = 60.0
_SHORTEST_WAIT_SECONDS = 0.01

_log = logging.getLogger("trackstack.agent")


@dataclass(frozen=True)
class Step:
    """One named part of the desired state.

    Attributes:
        ensure: makes it true; looks first, and may be killed at any line and run again.
        of_release: whether its failure means that the release is not taken up.
    """

    name: str
    ensure: Callable[[Round], None]
    of_release: bool = True


STEPS: tuple[Step, ...] = (
    Step("folders", ensure_folders, of_release=False),
    Step("users", ensure_users, of_release=False),
    # After the users: a password that was taken away waits for no disk.
    Step("audited", ensure_audited, of_release=False),
    Step("files", ensure_files),
    Step("packages", ensure_packages),
    Step("secrets", ensure_secrets),
    Step("database", ensure_database),
    Step("stores", ensure_stores),
    Step("mlflow", ensure_mlflow),
    Step("certificates", ensure_certificates),
    Step("nginx", ensure_nginx),
    Step("retired", ensure_retired),
    Step("cleaned", ensure_cleaned, of_release=False),
    Step("models", ensure_models, of_release=False),
    Step("logs", ensure_logs, of_release=False),
)


def run_forever(
    store: ControlStore,
    machine: Machine,
    reporter: Reporter,
    before_each: Callable[[], None] = lambda: None,
) -> None:
    """Converge, then wait for a change, an expiry, a retry or the next heartbeat.

    `before_each` is called before each round. Returns only when another agent is to take over.
    """
    applied = Applied()
    desired = DesiredState(store)
    tried: dict[str, str | None] = {}
    failures = 0
    while True:
        before_each()
        this = desired.read(machine)
        if itself.must_leave(this.agent):
            return
        applied, healthy = converge(this, reporter, applied)
        _told(this)
        # What fails again and again is tried less and less often, until something else is wanted.
        failures = 0 if healthy else (failures + 1 if desired.tags == tried else 1)
        tried = dict(desired.tags)
        desired.wait(_pause(this, failures, store.heartbeat_seconds, looked_at=_looked_at(this)))


def _told(this: Round) -> None:
    try:
        tell_last_seen(this)
    except (TrackstackError, OSError) as error:
        _log.error("when users were last seen cannot be told: %s", error)


def _looked_at(this: Round) -> bool:
    try:
        return show_logs(this)
    except (TrackstackError, StepError, OSError, ValueError) as error:
        _log.error("the log cannot be shown: %s", error)
        return False


def converge(this: Round, reporter: Reporter, applied: Applied) -> tuple[Applied, bool]:
    """Run every step once; a failing step of the release ends the release's steps only.

    Returns:
        What holds now, and whether every step ended well.
    """
    seen = Applied(
        release=generation(this.release),
        users=generation(this.users),
        cleanup=generation(this.cleanup),
    )
    steps: list[StepReport] = []
    release_fails = False
    for step in STEPS:
        if step.of_release and release_fails:
            continue
        if step.of_release and applied.release != seen.release:
            # Somebody may be watching; an unchanged release is not worth a write for each step.
            running = StepReport(name=step.name, state="running")
            reporter.write(False, seen, applied, [*steps, running])
        report = _run(step, this)
        steps.append(report)
        if report.state == "failed":
            if step.of_release:
                release_fails = True
                fall_back(this)
        elif step.name == "users" and applied.users != seen.users:
            applied = applied.model_copy(update={"users": seen.users})
            reporter.write(False, seen, applied, steps)
    applied = Applied(
        release=applied.release if release_fails else seen.release,
        users=applied.users,
        cleanup=cleaned_generation(),
    )
    healthy = all(report.state == "done" for report in steps)
    reporter.write(healthy, seen, applied, steps)
    return applied, healthy


def fall_back(this: Round) -> None:
    """Leave only the services of the release that serves, when there is one."""
    live = live_release_id()
    if live is None:
        return
    for definition in (folders.RELEASES / live / "services").glob("mlflow-*.conf"):
        try:
            stop_all_but(this, definition.stem)
        except (StepError, OSError) as error:
            _log.error("the failed release's services are not gone: %s", error)


def _run(step: Step, this: Round) -> StepReport:
    started = time.monotonic()
    problem, output = None, None
    try:
        step.ensure(this)
    except StepError as error:
        problem, output = error.problem, error.output
    except OSError as error:
        problem = f"{error.strerror or type(error).__name__}: {error.filename or 'no file named'}"
    except Exception as error:  # the report must go out, whatever a step runs into
        _log.exception("step %s", step.name)
        problem = f"{type(error).__name__}: {error}"
    seconds = round(time.monotonic() - started, 3)
    if problem is None:
        return StepReport(name=step.name, state="done", seconds=seconds)
    _log.error("step %s: %s\n%s", step.name, problem, output or "")
    return StepReport(
        name=step.name, state="failed", seconds=seconds, problem=problem, output=output
    )


def _pause(this: Round, failures: int, heartbeat: float, looked_at: bool) -> float:
    pause = heartbeat
    if failures:
        again = _FIRST_RETRY_SECONDS * 2 ** min(failures - 1, 10)
        pause = min(_LONGEST_RETRY_SECONDS, again)
    if looked_at:
        pause = min(pause, SECONDS)
    if isinstance(this.users, Users):
        now = datetime.now(UTC)
        coming = [(at - now).total_seconds() for at in expiries(this.users) if at > this.now]
        pause = min([pause, *coming])
    return max(_SHORTEST_WAIT_SECONDS, pause)
