"""Walls around models' code: what it gets to see and to do, whatever puts them up."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import psutil

from trackstack.agent.machine import Machine, StepError
from trackstack.agent.models.settings import Settings


@dataclass(frozen=True)
class View:
    """Where code within the walls finds what it needs.

    Attributes:
        files: the folder with the model, for reading only.
        environment: likewise, the one with its packages.
        scratch: where it may write; empty, and gone afterwards.
        way_out: the socket of the proxy that is its only network, or None.
        uv: the program.
    """

    files: Path
    environment: Path
    scratch: Path
    way_out: Path | None
    uv: Path


@dataclass(frozen=True)
class Task:
    """Something that code within the walls is to do, to its end.

    Attributes:
        name: which one, such as 'build_0123': no other of that name runs.
        files: see View; in the machine's folder.
        environment: likewise.
        command: what is run, given what it sees.
        variables: its environment; no more than some that say who it belongs to are added.
        answer: the file for what it writes to its standard output.
        question: the file with its standard input.
        network: whether it needs the way out.
        seconds: how long it may take; then it is ended.
    """

    name: str
    files: Path
    environment: Path
    command: Callable[[View], list[str]]
    variables: Callable[[View], dict[str, str]]
    answer: Path
    question: Path | None = None
    network: bool = False
    seconds: float = 3600.0


def memory_of(pid: int | None) -> int | None:
    """What a process has in memory, in bytes, with all that it started; None when unknown."""
    try:
        first = psutil.Process(pid) if pid is not None else None
        if first is None:
            return None
        return sum(each.memory_info().rss for each in (first, *first.children(recursive=True)))
    except psutil.Error:
        return None


class Walls(Protocol):
    """Has models' code run within walls; each call may be repeated."""

    def there(self) -> bool:
        """Whether walls can be put up on this machine."""

    def place(self, service: str, settings: Settings) -> None:
        """Define a model's server, so that it can be started."""

    def start(self, service: str) -> None:
        """Start a server that was placed, on a socket that is opened for it.

        Raises:
            StepError: it did not come so far as to take the socket.
        """

    def stop(self, service: str) -> None:
        """End a server; returns when its processes are gone."""

    def running(self, service: str) -> bool:
        """Whether a server is up or on its way up."""

    def memory(self, service: str) -> int | None:
        """What a server has in memory, in bytes, with all that it started; None when unknown."""

    def forget(self, service: str) -> None:
        """Undo `place`, for a server that was stopped."""

    def run(self, task: Task, problem: str) -> None:
        """Run a task to its end.

        Raises:
            StepError: it did not end well; with `problem` as its sentence.
        """


def too_long(problem: str, task: Task) -> StepError:
    """That a task had to be ended."""
    return StepError(f"{problem}: it was ended after {task.seconds:.0f} s")


M = TypeVar("M", bound=Machine)


@dataclass
class AroundServices(Generic[M]):
    """What walls around a machine's own services have in common; see Walls."""

    machine: M

    def stop(self, service: str) -> None:
        """End a server; returns when its processes are gone."""
        self.machine.stop(service)

    def running(self, service: str) -> bool:
        """Whether a server is up or on its way up."""
        return self.machine.running(service)

    def memory(self, service: str) -> int | None:
        """What a server has in memory, with all that it started; see Walls."""
        return memory_of(self.machine.pid(service))
