"""Takes an environment down; what it stores stays, unless a purge is asked for."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from trackstack.environment import Environment
from trackstack.errors import TrackstackError, UsageError
from trackstack.operations import users

_MOST_RUNS = 10_000


@dataclass(frozen=True)
class Stock:
    """What an environment holds.

    Attributes:
        runs: how many, or None when the server could not be asked.
        more_runs: whether there are more than were counted.
        models: registered models, or None likewise.
        stored_bytes: database and artifacts.
        last_write: when the newest run started; None when there is none or nobody to ask.
        people: who may enter.
    """

    runs: int | None
    more_runs: bool
    models: int | None
    stored_bytes: int
    last_write: datetime | None
    people: int


def take_stock(environment: Environment) -> Stock:
    """Count what would be lost."""
    stored_bytes = environment.target.stored_bytes()
    people = len(users.people(environment))
    if not environment.target.running():
        return Stock(None, False, None, stored_bytes, None, people)
    try:
        with (
            users.temporary(environment, "destroy") as login,
            environment.tracking(login.user, login.password) as tracking,
        ):
            runs = tracking.all_runs(_MOST_RUNS + 1)
            models = sum(1 for _ in tracking.registered())
    except TrackstackError:
        # A sick server must not stand in the way of its own removal.
        return Stock(None, False, None, stored_bytes, None, people)
    last = max((int(run.get("end_time") or run["start_time"]) for run in runs), default=None)
    return Stock(
        runs=min(len(runs), _MOST_RUNS),
        more_runs=len(runs) > _MOST_RUNS,
        models=models,
        stored_bytes=stored_bytes,
        last_write=datetime.fromtimestamp(last / 1000, UTC) if last else None,
        people=people,
    )


def check(environment: Environment) -> None:
    """Refuse what may not be destroyed.

    Raises:
        UsageError: the spec protects it.
    """
    if environment.existing_record().spec.protected:
        raise UsageError(
            f"Environment {environment.name!r} is protected by its spec.",
            "Deploy it with `protected: false` in its spec first.",
        )


def destroy(environment: Environment, purge: bool = False) -> Path | None:
    """Stop everything; remove everything too when `purge` is set. May be repeated.

    Returns:
        The folder that keeps the data, or None after a purge.

    Raises:
        UsageError: the spec protects it.
    """
    check(environment)
    with environment.held("changing", "trackstack destroy"):
        environment.target.start_at_login(False)
        environment.target.stop()
        if purge:
            environment.forget()
            return None
        record = environment.existing_record()
        if record.removed is None:
            environment.write_record(record.model_copy(update={"removed": datetime.now(UTC)}))
    return environment.folder
