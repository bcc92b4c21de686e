"""What the agent needs of a service manager, and of the processes it runs itself."""

import http.client
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Event, Timer
from typing import Protocol

import psutil

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""https://docs.kernel.org/admin-guide/sysctl/kernel.html#random; macOS has none."""
FINISHED, FAILED = 87, 88
"""The exit status of a service that is done for good; systemd's units start it no more."""
OUTPUT_TAIL = 4000
"""How much is told of what a failing program printed, in bytes."""
_GONE_SECONDS = 1.0
_MOST_ANSWER = 64 << 20


class Machine(Protocol):
    """Starts, stops and reloads services by name; each call may be repeated."""

    def start(self, service: str) -> None:
        """Take up a service's definition from the services folder and start it."""

    def stop(self, service: str) -> None:
        """Stop a service and forget its definition; returns when its processes are gone."""

    def finish(self, service: str, problem: str) -> None:
        """Run a service whose start script ends by itself, with FINISHED, or else with FAILED.

        Raises:
            StepError: it did not end well, or not in time; its problem is the given one.
        """

    def reload(self, service: str) -> None:
        """Have a service read its settings again."""

    def running(self, service: str) -> bool:
        """Whether a service is up or on its way up."""

    def pid(self, service: str) -> int | None:
        """The first process of a service, or None while it has none."""


class StepError(Exception):
    """A step could not make its part true.

    Attributes:
        problem: one sentence.
        output: the tail of what the failing program printed.
    """

    def __init__(self, problem: str, output: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.output = output


def this_boot() -> str:
    """Something that is another after this computer has started again."""
    if _BOOT_ID.is_file():
        return _BOOT_ID.read_text()
    return str(psutil.boot_time())


def run(
    command: list[str],
    problem: str,
    environment: dict[str, str] | None = None,
    inherited: Mapping[str, str] | None = None,
) -> str:
    """Run a program to its end and return what it printed.

    Args:
        command: never with a secret in it.
        problem: the sentence to fail with.
        environment: what to set beside what is inherited.
        inherited: this process's own environment when None.

    Raises:
        StepError: it is not there, or ended with another status than 0.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**(os.environ if inherited is None else inherited), **(environment or {})},
            check=False,
        )
    except FileNotFoundError as error:
        raise StepError(f"{problem}: there is no program {command[0]} on this machine") from error
    if done.returncode != 0:
        raise StepError(problem, done.stdout[-OUTPUT_TAIL:])
    return done.stdout


def tail(log: Path, most: int = OUTPUT_TAIL) -> str:
    """The end of a log, at most so many bytes, or nothing when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - most))
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


def ask(
    unix_socket: Path, path: str, host: str = "localhost", body: object = None, timeout: float = 10
) -> tuple[int, str] | None:
    """One HTTP request over a unix socket: GET, or POST of a JSON body.

    It takes `timeout` seconds at most, from first to last.

    Returns:
        Status and body, or None when nobody answers.
    """
    connection = http.client.HTTPConnection("localhost", timeout=timeout)
    late = Event()
    overdue = Timer(timeout, _hang_up, [connection, late])
    try:
        connect(connection, unix_socket)
        overdue.start()
        connection.request(
            "GET" if body is None else "POST",
            path,
            body=None if body is None else json.dumps(body),
            headers={"Host": host, "Content-Type": "application/json"},
        )
        answer = connection.getresponse()
        text = answer.read(_MOST_ANSWER).decode(errors="replace")
        return None if late.is_set() else (answer.status, text)
    except (OSError, http.client.HTTPException):
        return None
    finally:
        overdue.cancel()
        connection.close()


def _hang_up(connection: http.client.HTTPConnection, late: Event) -> None:
    """Each byte may be in time, and all of them never."""
    late.set()
    with suppress(OSError, AttributeError):
        connection.sock.shutdown(socket.SHUT_RDWR)


def connect(connection: http.client.HTTPConnection, unix_socket: Path) -> None:
    """Have an HTTP connection go over a unix socket."""
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(connection.timeout)
    connection.sock.connect(str(unix_socket))


def wait_for(
    condition: Callable[[], bool], seconds: float, gone: Callable[[], bool] | None = None
) -> bool:
    """Look every 50 ms until a condition holds, or it is gone for good, or time is up.

    Whether it is gone may take a program to tell, and is asked once a second.
    """
    began = time.monotonic()
    asked = began
    while (now := time.monotonic()) < began + seconds:
        if condition():
            return True
        if gone is not None and now > asked + _GONE_SECONDS:
            asked = now
            if gone():
                return False
        time.sleep(0.05)
    return False
