"""Looks at this computer and at the environments on it, and says what is wrong and what to do."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

from trackstack.control.base import read
from trackstack.desired import (
    Cleanup,
    Document,
    ModelReport,
    Observed,
    Release,
    Users,
    observed_key,
)
from trackstack.environment import Environment, Record
from trackstack.errors import TrackstackError
from trackstack.operations import models, users
from trackstack.operations.doctor_computer import this_computer
from trackstack.operations.findings import Diagnosis, Finding, bad, ok, raised, untried, warning
from trackstack.operations.inspection_safety import certificate_life, known_holes
from trackstack.operations.status import status
from trackstack.operations.visit import Visit
from trackstack.operations.waiting import observed, report_age

_SILENT = timedelta(minutes=2)
"""An idle agent reports every 30 s."""
_BUSY = timedelta(minutes=15)
"""Installing packages over a slow network is one step, without a report in between."""
_AHEAD = timedelta(seconds=5)


def examine(known: Iterable[Environment]) -> Diagnosis:
    """Look at this computer and at environments on it; nothing is changed, anywhere."""
    there = list(known)
    findings = [*this_computer({environment.kind for environment in there})]
    for environment in there:
        findings += [
            finding.model_copy(update={"where": environment.name})
            for finding in _environment(environment)
        ]
    return Diagnosis(findings=tuple(findings))


def _environment(environment: Environment) -> Iterator[Finding]:
    try:
        record = environment.existing_record()
    except TrackstackError as error:
        yield raised(error, "record")
        return
    damaged = [*_documents(environment)]
    yield from damaged or [ok("documents", "Its documents are whole.")]
    if damaged:
        return
    try:
        yield from _running(environment, record)
    except TrackstackError as error:
        yield raised(error, "running")
    yield _schema(environment, record)
    yield known_holes(record.plan.mlflow.version)
    yield _credentials(environment)


def _documents(environment: Environment) -> Iterator[Finding]:
    machine = environment.outputs.machine
    kinds: dict[type[Document], str | None] = {
        Release: None,
        Users: None,
        Cleanup: None,
        Observed: observed_key(machine),
    }
    for kind, key in kinds.items():
        try:
            read(environment.target.store, kind, key)
        except TrackstackError as error:
            yield raised(error, "documents")


def _running(environment: Environment, record: Record) -> Iterator[Finding]:
    if not environment.target.running():
        left = environment.target.leftovers()
        again = f"`trackstack deploy {record.plan.target} -e {environment.name}`"
        if left:
            yield bad(
                "stray",
                f"Its supervisor was killed, and these run on: {', '.join(left)}.",
                f"{again} ends them and starts it afresh.",
            )
        elif record.removed is None:
            yield bad("running", "It does not run.", f"{again} starts it.")
        else:
            yield ok("running", "It is removed, with its data kept.")
        if record.removed is None:
            yield from _can_start(environment, record)
        return
    report = observed(environment)
    now = datetime.now(UTC)
    age = report_age(environment) if report and environment.place else None
    if report and age is not None:
        # By the store's clock: this computer's, or the machine's, may be wrong.
        now = report.heartbeat + age
    yield from report_findings(environment.name, report, now)
    yield from _answers(environment)
    yield from model_findings(environment.name, models.listed(environment).models)


def model_findings(name: str, served: Mapping[str, ModelReport]) -> Iterator[Finding]:
    """How served models do, of whom one is a finding only when something is wrong with it."""
    well = [model for model, report in served.items() if report.healthy and not report.reason]
    if well:
        yield ok("models", f"Of its models these answer: {', '.join(well)}.")
    for model in sorted(served.keys() - set(well)):
        report = served[model]
        why = f": {report.reason}" if report.reason else f"; {report.doing}" if report.doing else ""
        remedy = f"`trackstack models logs {model} -e {name}` says more."
        if report.healthy:
            told = f"Model {model!r} stays at version {report.version}{why}."
            yield warning("models", told, remedy)
        else:
            yield bad("models", f"Model {model!r} does not answer{why}.", remedy)


def _can_start(environment: Environment, record: Record) -> Iterator[Finding]:
    try:
        environment.target.check(record.plan, record.plan)
    except TrackstackError as error:
        yield raised(error, "start")


def report_findings(name: str, report: Observed | None, now: datetime) -> Iterator[Finding]:
    """What a running machine's last report says."""
    logs = f"`trackstack logs agent -e {name}` says more."
    if report is None:
        yield bad("agent", "Its agent has not reported yet.", logs)
        return
    age = now - report.heartbeat
    at_work = any(step.state == "running" for step in report.steps)
    if age < -_AHEAD:
        yield warning(
            "clock",
            f"Its last report is {-age.total_seconds():.0f} seconds in the "
            "future: this computer's clock was set back.",
            "Have the clock set by NTP: when users expire depends on it.",
        )
    failed = report.failed_step()
    if age > (_BUSY if at_work else _SILENT):
        yield bad(
            "agent",
            f"Its agent is silent since {report.heartbeat:%Y-%m-%d %H:%M:%S} UTC, "
            "so changes to users do not take effect.",
            logs,
        )
    elif failed is not None:
        yield bad("steps", f"Its step {failed.name!r} fails: {failed.problem}.", logs)
    else:
        yield ok("agent", "Its agent reports that every step ended well.")


def _answers(environment: Environment) -> Iterator[Finding]:
    answers = status(environment).answers
    if answers is False:
        yield bad(
            "answers",
            f"{environment.url} does not let its first user read.",
            f"`trackstack logs mlflow -e {environment.name}` and `… logs nginx` say more.",
        )
    elif answers:
        yield ok("answers", f"{environment.url} lets its first user read.")
    if environment.url.startswith("https://"):
        try:
            with Visit(environment.url, None, environment.authorities()) as visit:
                shown = visit.shown
        except TrackstackError as error:
            yield raised(error, "certificate")
            return
        if shown is not None:
            yield from certificate_life(shown.until, datetime.now(UTC))


def _schema(environment: Environment, record: Record) -> Finding:
    release, _ = read(environment.target.store, Release)
    fits = environment.target.schema(record.plan, release.packages_id) if release else None
    if fits is None:
        return untried("schema", "Whether its database's tables fit its MLflow is not seen here.")
    if fits == "fits":
        return ok("schema", "Its database's tables fit its MLflow.")
    if fits == "newer":
        return bad(
            "schema",
            f"A newer MLflow than {record.plan.mlflow.version} changed its database's tables.",
            "Deploy that version again: `--mlflow VERSION`.",
        )
    return bad(
        "schema",
        f"Its database's tables are older than MLflow {record.plan.mlflow.version} needs.",
        f"Copy the database, then run `mlflow db upgrade {record.plan.mlflow.database}` "
        "in the machine's folder with the server's own MLflow.",
    )


def _credentials(environment: Environment) -> Finding:
    owner = environment.owner()
    if owner is None:
        return ok("password", "This computer keeps no password for it.")
    if users.own_login(environment) is None:
        return warning(
            "password",
            f"The password of {owner} that this computer keeps no longer opens it.",
            f"`trackstack users rotate {owner} -e {environment.name}` makes a new "
            "one and keeps it.",
        )
    return ok("password", f"The password of {owner} that this computer keeps opens it.")
