"""Programs that end with the test that started them, however that ends."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

# Without what the tests have installed, and without a shell that only looks for it.
_PYTHON = getattr(sys, "_base_executable", sys.executable)
_KEEPER = """
import os, signal, subprocess, sys, threading

child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)

def end():
    sys.stdin.read()
    # The first process of a process namespace takes all others along.
    os._exit(0)

threading.Thread(target=end, daemon=True).start()
# It inherits every orphan, and buries it.
while True:
    pid, status = os.wait()
    if pid == child.pid:
        sys.exit(os.waitstatus_to_exitcode(status) & 0x7f)
"""


def start(command: Sequence[str | Path], output: Path) -> "subprocess.Popen[bytes]":
    """Start a program in process and mount namespaces of its own.

    All of its processes and mounts are gone when the standard input of what is returned is closed,
    which the kernel does for a test that was killed.

    Args:
        output: a file to which it appends what it prints.
    """
    namespaces = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
    with output.open("ab") as log:
        return subprocess.Popen(
            [*namespaces, _PYTHON, "-c", _KEEPER, *command],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def end(program: "subprocess.Popen[bytes]") -> None:
    """End it at once, with all that it started."""
    if program.stdin is not None:
        program.stdin.close()
    program.wait(120)
