"""The processes of a machine's folder: who supervises it, and what a kill left running.

`python -m trackstack.agent.processes`, run by a service's start script, ends what an earlier
start of that service left.
"""

import fcntl
import os
from pathlib import Path

import psutil

from trackstack.agent import folders

LOCK = folders.RUN / "supervisor.lock"
"""Held by the supervisor for as long as it lives."""

MARK = "TRACKSTACK_MACHINE"
"""Set to the machine's folder in every process of the machine, so that strays are known."""

SERVICE = "SUPERVISOR_PROCESS_NAME"
"""Set by supervisor, in all that comes of a service, to the service's name."""


def holder(folder: Path) -> int | None:
    """The pid of the supervisor that runs a machine's folder, or None."""
    try:
        lock = os.open(folder / LOCK, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        # Empty for the instant between taking the lock and writing the pid.
        return int(os.pread(lock, 32, 0) or b"0") or None
    else:
        return None
    finally:
        os.close(lock)


def strays(folder: Path) -> list[psutil.Process]:
    """Processes of a machine that run on although its supervisor is gone."""
    return [process for process in psutil.process_iter() if _is_of(process, folder)]


def end_strays(folder: Path) -> None:
    """End what a killed supervisor left running; call it only while no supervisor runs."""
    while left := strays(folder):
        _kill(left)


def end_leftovers(folder: Path, service: str) -> None:
    """End what an earlier start of a service left running; call it only while it starts anew.

    A killed master leaves its workers: they hold memory, the database, nginx's port.
    """
    _kill([process for process in strays(folder) if _is_left_of(process, service)])


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(processes, timeout=10)


def _is_left_of(process: psutil.Process, service: str) -> bool:
    try:
        if os.getpgid(process.pid) == os.getpgrp():  # of this very start
            return False
        if process.name() == "nginx":
            # By its title, which an `nginx -t` that the agent runs does not have.
            return service == "nginx" and process.cmdline()[0].startswith("nginx:")
        return process.environ().get(SERVICE) == service
    except (psutil.Error, OSError, IndexError):
        return False


def _is_of(process: psutil.Process, folder: Path) -> bool:
    if process.pid == os.getpid():
        return False
    try:
        if process.name() == "nginx":  # writes its title over its environment
            return process.cwd() == str(folder)
        return process.environ().get(MARK) == str(folder)
    except (psutil.Error, OSError):
        return False


if __name__ == "__main__":
    end_leftovers(Path.cwd(), os.environ[SERVICE])
