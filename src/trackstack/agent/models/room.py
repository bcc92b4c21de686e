"""The other end of walls that are a container: `python -P -m trackstack.agent.models.room DOOR`.

In the container there is nothing but what models need: no network, no secret, and no folder that
can be written to but /tmp. So what runs gets all it may write to, and a server its socket, as files
that are open: they come with the order to start it, through a socket (see contained.py) that this
end keeps connecting to. What runs goes on while nobody is at the other end. Each has a session of
its own, by which its memory is counted; a process that leaves that for another is ended.
"""

import json
import os
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MOST_BYTES = 128 * 1024
"""Of a message; the kernel passes on 200 KiB at once."""
SOCKET = "@socket"
"""Stands in a command for the number of the socket that comes with it."""
MOST_FILES = 4
_AGAIN_SECONDS = 0.5
_TELL_SECONDS = 2.0
_SCORE = Path("/proc/self/oom_score_adj")
_NEVER_RAN = 127
"""As a shell tells it."""
_PAGE = resource.getpagesize()
_SPARED = {os.getpid(), os.getppid(), 1}
_OUTSIDE = 0
"""The parent of what is started from outside the container, such as by `docker exec`, with a
session of its own, which is left alone."""


@dataclass
class Room:
    """What runs here, by the name it was started under.

    Attributes:
        ending: until when each that is to end has time for it.
        unborn: the status of what could not be started.
    """

    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    ending: dict[str, float] = field(default_factory=dict)
    unborn: dict[str, int] = field(default_factory=dict)

    def obey(self, order: dict[str, Any], files: list[int]) -> None:
        """Carry out one order; files that come with it are closed here."""
        try:
            if "start" in order and order["start"] not in self.running:
                try:
                    self.running[order["start"]] = _start(order, files)
                except (OSError, ValueError, subprocess.SubprocessError) as error:
                    os.write(files[2], f"it cannot be started: {error}\n".encode())
                    self.unborn[order["start"]] = _NEVER_RAN
            if "stop" in order and (child := self.running.get(order["stop"])) is not None:
                _signal(child, signal.SIGTERM)
                self.ending[order["stop"]] = time.monotonic() + order["seconds"]
        finally:
            for each in files:
                os.close(each)

    def ended(self) -> dict[str, int]:
        """What has ended since the last look, with its status; ends what is overdue."""
        for name in [name for name, until in self.ending.items() if time.monotonic() > until]:
            if (child := self.running.get(name)) is not None:
                _signal(child, signal.SIGKILL)
        found = {
            name: status
            for name, child in self.running.items()
            if (status := child.poll()) is not None
        }
        for name in found:
            _signal(self.running.pop(name), signal.SIGKILL)  # what it left of its group
            self.ending.pop(name, None)
        if found:
            self.look()
        if found and not self.running:
            _sweep()
        found |= self.unborn
        self.unborn.clear()
        return found

    def look(self) -> dict[str, int]:
        """How many bytes each has in memory, with all of its session; ends what is in none."""
        sessions = {child.pid: 0 for child in self.running.values()}
        strays: dict[int, int] = {}
        spared = set[int]()
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, ValueError, IndexError):
                told = (folder / "stat").read_text().rpartition(")")[2].split()
                pid, parent, session = int(folder.name), int(told[1]), int(told[3])
                if session in sessions:
                    pages = int((folder / "statm").read_text().split()[1])
                    sessions[session] += pages * _PAGE
                elif parent == _OUTSIDE or pid in _SPARED:
                    spared.add(session)
                else:
                    strays[pid] = session
        for pid, session in strays.items():
            if session not in spared:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
        return {name: sessions[child.pid] for name, child in self.running.items()}


def main(door: str) -> None:
    """Obey whoever is at the door; returns never."""
    room = Room()
    _sweep()
    while True:
        at_door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with at_door, suppress(OSError, ValueError):
            at_door.connect(door)
            _serve(room, at_door)
        room.ended()
        time.sleep(_AGAIN_SECONDS)


def _serve(room: Room, at_door: socket.socket) -> None:
    """Obey, and tell what ends, until the other end is gone."""
    _tell(at_door, {"running": list(room.running)})
    told_at = 0.0
    while True:
        ready, _, _ = select.select([at_door], [], [], 0.1 if room.running else _TELL_SECONDS)
        if ready:
            message, files, _, _ = socket.recv_fds(at_door, MOST_BYTES, MOST_FILES)
            if not message:
                return
            room.obey(json.loads(message), files)
        for name, status in room.ended().items():
            _tell(at_door, {"ended": name, "status": status})
        if time.monotonic() > told_at + _TELL_SECONDS:
            told_at = time.monotonic()
            _tell(at_door, {"memory": room.look()})


def _tell(at_door: socket.socket, what: dict[str, Any]) -> None:
    at_door.send(json.dumps(what).encode())


def _start(order: dict[str, Any], files: list[int]) -> "subprocess.Popen[bytes]":
    stdin, stdout, stderr, *listening = files
    command = [str(listening[0]) if word == SOCKET else word for word in order["command"]]
    return subprocess.Popen(
        command,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        pass_fds=listening,
        env=order["variables"],
        cwd=order["cwd"],
        start_new_session=True,
        preexec_fn=lambda: _limit(order["memory_mb"]),  # noqa: PLW1509  there is one thread only
    )


def _limit(megabytes: int | None) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if megabytes is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (megabytes << 20, megabytes << 20))
    with suppress(OSError):
        _SCORE.write_text("1000")


def _signal(child: "subprocess.Popen[bytes]", which: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, which)


def _sweep() -> None:
    """End and remove whatever is left here: nothing that was asked for runs."""
    for folder in Path("/proc").glob("[0-9]*"):
        if int(folder.name) not in _SPARED:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(int(folder.name), signal.SIGKILL)
    for left in Path(tempfile.gettempdir()).iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


if __name__ == "__main__":
    main(sys.argv[1])
