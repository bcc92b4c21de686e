"""Says how an environment is, without writing anything."""

from collections.abc import Mapping
from datetime import datetime

from trackstack import environment as environments
from trackstack.desired import Observed, Part, Patches, StepReport, User
from trackstack.environment import Environment, Record
from trackstack.errors import TrackstackError
from trackstack.operations import users
from trackstack.operations.waiting import SILENT, observed, report_age
from trackstack.targets.base import Workspace


class Status(Part):
    """How an environment is.

    Attributes:
        state: 'running', 'failing' (a step of its agent fails), 'silent' (a cloud's machine has
            not reported for minutes), 'stopped' or 'removed' (with its data kept).
        answers: whether a login reads from it, or None when that was not tried.
        failed: the step that fails, with its output.
        room: what is wrong with the room it has left to store in, or None.
        at_login: whether it is started when this person logs in.
        release: the id of the release that serves.
        workspace: where people work beside it, when there is such a place.
        patches: how far the updates of its operating system have got, on a machine in a cloud.
        models: what it serves, by name; `models list` says how each does.
    """

    environment: str
    target: str
    url: str
    state: str
    answers: bool | None
    failed: StepReport | None
    room: str | None
    at_login: bool
    release: str | None
    versions: dict[str, str]
    people: int
    stored_bytes: int | None
    heartbeat: datetime | None
    patches: Patches | None
    kit: str
    workspace: Workspace | None = None
    models: tuple[str, ...] = ()


class Summary(Part):
    """One line of the list of environments; `problem` when its record cannot be read."""

    environment: str
    target: str | None
    url: str | None
    state: str
    problem: str | None = None


def status(environment: Environment) -> Status:
    """How one environment is."""
    record = environment.existing_record()
    running = environment.target.running()
    report = observed(environment) if running else None
    full = environment.target.room_problem()
    people = users.people(environment)
    return Status(
        environment=environment.name,
        target=record.plan.target,
        url=environment.url,
        state=_state(environment, report) if running else _absent(record),
        answers=_answers(environment, people) if running else None,
        failed=report.failed_step() if report else None,
        room=full.sentence if full else None,
        at_login=environment.target.starts_at_login(),
        release=report.release_id if report else None,
        versions=report.versions if report else {},
        people=len(people),
        # In a cloud, counting takes as long as there are artifacts.
        stored_bytes=None if environment.place else environment.target.stored_bytes(),
        heartbeat=report.heartbeat if report else None,
        workspace=environment.target.workspace(record.plan),
        patches=report.patches if report else None,
        kit=record.kit,
        models=report.models if report else (),
    )


def summaries() -> list[Summary]:
    """Every environment on this computer, in a line each."""
    return [_summary(Environment(name)) for name in environments.all_names()]


def _summary(environment: Environment) -> Summary:
    try:
        record = environment.existing_record()
        running = environment.target.running()
        return Summary(
            environment=environment.name,
            target=record.plan.target,
            url=environment.url,
            state=_state(environment, observed(environment)) if running else _absent(record),
        )
    except TrackstackError as error:
        return Summary(
            environment=environment.name,
            target=None,
            url=None,
            state="unreadable",
            problem=error.sentence,
        )


def _state(environment: Environment, report: Observed | None) -> str:
    """How a machine is that runs."""
    if environment.place is not None:
        age = report_age(environment)
        if age is None or age > SILENT:
            return "silent"
    return "failing" if report is not None and report.failed_step() else "running"


def _absent(record: Record) -> str:
    return "removed" if record.removed else "stopped"


def _answers(environment: Environment, people: Mapping[str, User]) -> bool | None:
    login = users.own_login(environment, people)
    if login is None:
        return None
    try:
        with environment.tracking(login.user, login.password) as tracking:
            tracking.read()
    except TrackstackError:
        return False
    return True
