"""Takes an environment down; what it stores stays, unless a purge is asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from trackstack.desired import Part
from trackstack.environment import Environment
from trackstack.errors import TrackstackError, UsageError
from trackstack.operations import users
from trackstack.targets.base import Kept, Tell

_MOST_RUNS = 10_000


@dataclass(frozen=True)
class Stock:
    """What an environment holds.

    Attributes:
        runs: how many, or None when the server could not be asked.
        more_runs: whether there are more than were counted.
        models: registered models, or None likewise.
        stored_bytes: database and artifacts, or None when that cannot be told.
        last_write: when the newest run started; None when there is none or nobody to ask.
        people: who may enter.
    """

    runs: int | None
    more_runs: bool
    models: int | None
    stored_bytes: int | None
    last_write: datetime | None
    people: int


class Removed(Part):
    """What a removal left.

    Attributes:
        folder: that keeps the data on this computer; None after a purge, and in a cloud.
        left: what the cloud's account, or Docker, still holds of it.
    """

    folder: Path | None = None
    left: tuple[Kept, ...] = ()


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


def destroy(
    environment: Environment,
    purge: bool = False,
    tell: Tell = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> Removed:
    """Stop everything; remove everything too when `purge` is set. May be repeated.

    Args:
        environment: which.
        purge: remove what it stores too.
        tell: told what a cloud's engine does.
        say: told how buckets are emptied.

    Raises:
        UsageError: the spec protects it.
    """
    check(environment)
    with environment.held("changing", "trackstack destroy"):
        if environment.place is not None:
            return _destroy_in_a_cloud(environment, purge, tell, say)
        environment.target.start_at_login(False)
        environment.target.stop()
        if purge:
            environment.forget()
            return Removed()
        _note_removal(environment)
        return Removed(folder=environment.folder, left=environment.target.kept_apart())


def _destroy_in_a_cloud(
    environment: Environment, purge: bool, tell: Tell, say: Callable[[str], None]
) -> Removed:
    record, cloud = environment.existing_record(), environment.cloud
    cloud.check_removal()
    # First, so that a killed removal is gone on with and not taken for a server.
    _note_removal(environment)
    cloud.remove(record.plan, purge, tell, say)
    left = tuple(cloud.left())
    if purge:
        environment.forget()
    return Removed(left=left)


def _note_removal(environment: Environment) -> None:
    record = environment.existing_record()
    if record.removed is None:
        environment.write_record(record.model_copy(update={"removed": datetime.now(UTC)}))
