"""Runs of the engine in processes of their own, to be stopped in the middle.

As a program it reads a run a line from its input, so that no secret is in its arguments, and forks
for each: importing what a run needs takes longer than many a run.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import SecretStr

from trackstack.cloud_plan import Aws, Gcp
from trackstack.errors import TrackstackError
from trackstack.targets import engine
from trackstack.targets.engine import Room


class Run:
    """A run that was begun, in a process group of its own with its engine."""

    def __init__(self, driver: "subprocess.Popen[str]") -> None:
        self._driver = driver
        self._pid = int(_said(driver)["pid"])
        self.over = False

    def kill(self) -> None:
        """End it at once, as kill -9 does."""
        os.killpg(self._pid, signal.SIGKILL)

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        os.killpg(self._pid, signal.SIGINT)

    def ended(self) -> tuple[int, str]:
        """Wait for its end: its exit code, and the error that it told."""
        told = ""
        while "code" not in (said := _said(self._driver)):
            told = said["told"]
        self.over = True
        return said["code"], told


class Driver:
    """Begins runs, one after the other."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._last: Run | None = None

    def begin(
        self,
        what: str,
        room: Room,
        plan: Aws | Gcp | None = None,
        secrets: Mapping[str, SecretStr] | None = None,
    ) -> Run:
        """Begin a run, 'up' or 'destroy'."""
        order = {
            "what": what,
            "room": {**room.model_dump(mode="json"), "key": room.key.get_secret_value()},
            "plan": plan.model_dump(mode="json") if plan else None,
            "secrets": {name: each.get_secret_value() for name, each in (secrets or {}).items()},
        }
        assert self._process.stdin
        print(json.dumps(order), file=self._process.stdin, flush=True)
        self._last = Run(self._process)
        return self._last

    def end(self) -> None:
        """Leave nothing running."""
        if self._last and not self._last.over:
            self._last.kill()
            self._last.ended()


@contextmanager
def driver() -> Iterator[Driver]:
    """Whatever it began is gone afterwards."""
    with subprocess.Popen(
        [sys.executable, "-m", "engine.driver"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        made = Driver(process)
        try:
            yield made
        finally:
            made.end()


def _said(process: "subprocess.Popen[str]") -> dict[str, Any]:
    assert process.stdout
    line = process.stdout.readline()
    assert line, "the driver of the engine's runs is gone"
    said: dict[str, Any] = json.loads(line)
    return said


def _serve() -> None:
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            os.setsid()
            os._exit(_work(json.loads(line)))
        _say(pid=pid)
        _, status = os.waitpid(pid, 0)
        _say(code=os.waitstatus_to_exitcode(status))


def _work(order: dict[str, Any]) -> int:
    room = Room.model_validate(order["room"])
    try:
        if order["what"] == "destroy":
            engine.destroy(room)
        else:
            kind = {"aws": Aws, "gcp": Gcp}[order["plan"]["cloud"]]
            secrets = {name: SecretStr(each) for name, each in order["secrets"].items()}
            engine.up(room, kind.model_validate(order["plan"]), secrets=secrets)
    except TrackstackError as error:
        _say(told=f"{type(error).__name__}: {error.sentence}")
        return error.exit_code
    return 0


def _say(**what: object) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    _serve()
