"""Frees the lock that a killed run of a cloud's engine left behind."""

import platform
from datetime import UTC, datetime, timedelta

import psutil

from trackstack.desired import Part
from trackstack.environment import Environment
from trackstack.errors import BusyError


class Holder(Part):
    """Whose run holds an environment.

    Attributes:
        alive: whether that process is there; None when it is of another computer.
    """

    who: str
    host: str
    pid: int
    since: datetime
    alive: bool | None

    @property
    def told(self) -> str:
        """The holder for a reader."""
        lives = {
            True: "it still runs",
            False: "it is gone",
            None: "whether it still runs cannot be seen from here",
        }
        return (
            f"{self.who} on {self.host} since {self.since:%Y-%m-%d %H:%M:%S} UTC "
            f"(process {self.pid}; {lives[self.alive]})"
        )


def holder(environment: Environment) -> Holder | None:
    """Who holds it, or None."""
    found = environment.cloud.lock()
    if found is None:
        return None
    here = found["hostname"] == platform.node()
    return Holder(
        who=found["username"],
        host=found["hostname"],
        pid=found["pid"],
        since=datetime.fromisoformat(found["timestamp"]).astimezone(UTC),
        alive=_lives(found["pid"]) if here else None,
    )


def unlock(environment: Environment, held: Holder, older_than: timedelta | None = None) -> None:
    """Take the lock away.

    Args:
        environment: whose.
        held: as `holder` found it.
        older_than: leave a younger one alone.

    Raises:
        BusyError: the process still runs, or the lock is younger.
    """
    if held.alive:
        raise BusyError(
            f"{held.told}.", "Wait until it is done, or end that process with Ctrl-C first."
        )
    if older_than is not None and datetime.now(UTC) - held.since < older_than:
        raise BusyError(f"{held.told}: that is not long enough ago.", "Wait, then try again.")
    environment.cloud.unlock()


def _lives(pid: int) -> bool:
    try:
        # One that has ended and that nobody has asked about since is still listed.
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
