"""Reads a machine's logs through the control store: asks for one, and shows what comes."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from trackstack.control.base import ControlStore, change
from trackstack.desired import LogsWanted, logs_key
from trackstack.errors import NotProvenError

_LEASE = timedelta(minutes=5)
_RENEWED_BEFORE = timedelta(minutes=2)
_FIRST_SECONDS = 30.0
"""An idle agent looks for something new every four seconds."""
_NEXT_SECONDS = 10.0


def lines(store: ControlStore, service: str, follow: bool) -> Iterator[str]:
    """The end of a service's log, line by line; with `follow`, without an end.

    Raises:
        NotProvenError: the machine's agent shows none.
    """
    key = logs_key(service)
    until = _ask(store, service)
    before = store.get(key)
    shown: list[str] = []
    tag = before.tag if before else None
    # What lies there from the last time may be the newest there is: nothing else comes then.
    store.wait_for_change({key: tag}, _FIRST_SECONDS if before is None else _NEXT_SECONDS)
    while True:
        stored = store.get(key)
        if stored is None:
            raise NotProvenError(
                f"The machine has shown no log of {service}: its agent is silent.",
                "`trackstack status` says when it was heard last, and `trackstack logs console` "
                "what the machine itself wrote.",
            )
        tag = stored.tag
        now = stored.data.decode(errors="replace").splitlines()
        yield from _new(shown, now)
        shown = now
        if not follow:
            return
        store.wait_for_change({key: tag}, _NEXT_SECONDS)
        if until - datetime.now(UTC) < _RENEWED_BEFORE:
            until = _ask(store, service)


def _ask(store: ControlStore, service: str) -> datetime:
    until = datetime.now(UTC) + _LEASE
    content: dict[str, object] = {"service": service, "until": until}
    change(store, LogsWanted, f"show the log of {service}", lambda _: content)
    return until


def _new(shown: list[str], now: list[str]) -> list[str]:
    """The lines after those that were shown: the tail's beginning has moved on meanwhile."""
    for start in range(len(now)):
        overlap = now[: len(now) - start]
        if overlap and shown[-len(overlap) :] == overlap:
            return now[len(overlap) :]
    return now
