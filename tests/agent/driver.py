"""Runs single rounds of the agent in a machine's folder, and kills them where it is told to.

Started in the folder as the agent is. Each line of its input is an order, JSON with `step` and
`at`: run one round in a process of its own and end it with SIGKILL right before that effect of
that step, by number or by name; at 0, let it end. Each line of its output tells how the round
ended and the effects of that step up to there.

An effect is whatever others can see: a file or folder written, renamed or removed, a program
started, a word to the supervisor; also the step's begin, its first wait, its end. The step
`report` is all that lies between steps.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from trackstack.agent import converge as loop
from trackstack.agent.desired_state import DesiredState
from trackstack.agent.report import Reporter
from trackstack.agent.round import Round
from trackstack.agent.supervisor import Supervisor
from trackstack.control.directory import DirectoryStore
from trackstack.desired import Applied

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_EFFECTS = {
    *("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.symlink", "os.truncate"),
    *("shutil.rmtree", "subprocess.Popen"),
}
_REPORT = "report"


class Deadly:
    """Counts the effects of one step and kills this process right before one of them."""

    def __init__(self, step: str | None, at: int | str, pipe: int) -> None:
        self._step, self._at, self._pipe = step, at, pipe
        self._count = 0
        self._waited = False
        self.now = _REPORT

    def effect(self, what: str) -> None:
        if self.now != self._step:
            return
        self._count += 1
        os.write(self._pipe, f"{what}\n".encode())
        if self._at in {self._count, what}:
            os.kill(os.getpid(), signal.SIGKILL)

    def heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit hook; it hears of an operation right before it is done."""
        writes = event == "open" and bool(arguments[2] & _WRITES)
        if (writes and arguments[0] != os.devnull) or event in _EFFECTS:
            self.effect(f"{event} {arguments[0]}")

    def waits(self) -> None:
        if not self._waited and self.now == self._step:
            self._waited = True
            self.effect("wait")

    def watched(self, step: loop.Step) -> loop.Step:
        def ensure(this: Round) -> None:
            self.now = step.name
            try:
                self.effect("begin")
                step.ensure(this)
                self.effect("end")
            finally:
                self.now = _REPORT

        return replace(step, ensure=ensure)


def run_round(deadly: Deadly) -> bool:
    """What the agent does when it starts, once."""
    loop.STEPS = tuple(deadly.watched(step) for step in loop.STEPS)
    call, sleep = Supervisor._call, time.sleep

    def watched_call(self: Supervisor, method: str, *arguments: object, **more: Any) -> Any:
        if method != "getProcessInfo":
            deadly.effect(f"{method} {arguments}")
        return call(self, method, *arguments, **more)

    def watched_sleep(seconds: float) -> None:
        deadly.waits()
        sleep(seconds)

    Supervisor._call = watched_call  # type: ignore[method-assign]
    time.sleep = watched_sleep
    sys.addaudithook(deadly.heard)
    store, machine = DirectoryStore(Path(os.environ["TRACKSTACK_STORE"])), Supervisor()
    this = DesiredState(store).read(machine)
    reporter = Reporter(store, os.environ["TRACKSTACK_MACHINE_ID"])
    return loop.converge(this, reporter, Applied())[1]


def serve(run: Callable[[Deadly], bool]) -> None:
    """Carry out orders until there are no more.

    Args:
        run: one round; returns whether it ended well.
    """
    for line in sys.stdin:
        order = json.loads(line)
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            healthy = False
            try:
                healthy = run(Deadly(order["step"], order["at"], theirs))
            finally:
                os._exit(0 if healthy else 1)
        os.close(theirs)
        with os.fdopen(ours) as told:
            effects = told.read().splitlines()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        answer = {"killed": status == -signal.SIGKILL, "healthy": status == 0, "effects": effects}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve(run_round)
