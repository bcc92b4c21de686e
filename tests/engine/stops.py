"""Runs of the engine that are stopped at each kind of resource, and gone on with each time."""

import threading
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Literal

from pydantic import SecretStr

from engine.cloud import Action, Cloud, Lost
from engine.driver import Driver
from engine.provider import RULES
from engine.rooms import find_in
from trackstack.cloud_plan import Aws, Gcp
from trackstack.targets import engine
from trackstack.targets.engine import Room

How = Literal["unheard", "unanswered", "ctrl-c"]
"""Killed before the cloud heard of it; killed when it was done, before the answer; Ctrl-C."""
HOWS: tuple[How, ...] = ("unheard", "unanswered", "ctrl-c")

_SECONDS = 120.0
_ENDS: dict[How, int] = {"unheard": -9, "unanswered": -9, "ctrl-c": 130}


def stopped_at_each(
    driver: Driver,
    room: Room,
    cloud: Cloud,
    plan: Aws | Gcp | None,
    *,
    hows: Iterable[How],
    secrets: Mapping[str, SecretStr] | None = None,
) -> dict[str, How]:
    """Run until a run ends by itself; each one before that is stopped at another kind.

    After each stop the record is brought in line with the cloud, as the kit does.

    Args:
        plan: what to make true; None to remove all instead.
        hows: how to stop, in turn.
        secrets: what the program needs and the plan does not hold.

    Returns:
        The kinds at which a run was stopped, in order, and how.
    """
    what: tuple[str, Action] = ("up", "create") if plan else ("destroy", "delete")
    stopped: dict[str, How] = {}
    for how in hows:
        stop = _Stop(cloud, what[1], how, stopped)
        run = driver.begin(what[0], room, plan, secrets)
        with ThreadPoolExecutor(1) as pool:
            end = pool.submit(run.ended)
            end.add_done_callback(stop.come)
            stop.moved.wait(_SECONDS)
            if stop.kind is None:
                code, told = end.result(0)
                assert (code, told) == (0, ""), f"after {stopped} ended with {code}: {told}"
                cloud.calm()
                return stopped
            stopped[stop.kind] = how
            if how == "ctrl-c":
                run.interrupt()
            else:
                run.kill()
                end.result(_SECONDS)
                cloud.hang_up()
            stop.over.set()
            code, told = end.result(_SECONDS)
        cloud.calm()
        assert code == _ENDS[how], f"{how} at {stop.kind} ended with {code}: {told}"
        if how != "ctrl-c":
            engine.unlock(room)
        if engine.unfinished(room):
            engine.mend(room, find_in(cloud))
    raise AssertionError(f"still no end after {stopped}")


class _Stop:
    """The moment at which a run is to be stopped: the first kind that is not passed by.

    Attributes:
        moved: the moment has come, or somebody says that it never will.
        over: set by the caller when the run was stopped.
        kind: at which.
    """

    def __init__(self, cloud: Cloud, action: Action, how: How, passed: Collection[str]) -> None:
        self.moved, self.over = threading.Event(), threading.Event()
        self.kind: str | None = None
        self._how = how
        self._lock = threading.Lock()
        for kind in RULES[cloud.package].KINDS.keys() - passed:
            cloud.trouble(
                action,
                kind,
                before=partial(self._before, kind),
                after=self._after,
                times=99,
            )

    def _before(self, kind: str) -> None:
        with self._lock:
            first = self.kind is None
            self.kind = self.kind or kind
        if first and self._how == "unanswered":
            return
        if first:
            self.come()
        self._wait()
        if self._how != "ctrl-c":
            raise Lost(f"{kind}: the request never arrived")

    def come(self, _: object = None) -> None:
        """Say that the moment has come, or never will."""
        self.moved.set()

    def _after(self) -> None:
        if self._how == "unanswered":
            self.come()
            self._wait()

    def _wait(self) -> None:
        assert self.over.wait(_SECONDS), "the run was never stopped"
