"""A box to play with: `make box` makes one and prints what is in it, `make box-down` ends it.

usage: python -m box up [aws|gcp] | down
"""

import os
import shlex
import signal
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest

from box.deployed import NAME, Box, box
from kits import CACHE

_PID = CACHE / "box.pid"
_STOP_SECONDS = 120.0


def main() -> None:
    """Do what the arguments say."""
    match sys.argv[1:]:
        case ["down"]:
            down()
        case ["up", *cloud] if len(cloud) <= 1 and {*cloud} <= {"aws", "gcp"}:
            up(*cloud)
        case _:
            sys.exit(str(__doc__))


def up(cloud: str = "aws") -> None:
    """Deploy in a box that stays until it is ended."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with TemporaryDirectory(prefix="box-") as folder, suppress(KeyboardInterrupt):
        try:
            with box(cloud, Path(folder)) as made:
                _PID.write_text(str(os.getpid()))
                made.first_deploy()
                print(_told(made), flush=True)
                signal.pause()
        except pytest.skip.Exception as missing:
            sys.exit(str(missing))
        finally:
            _PID.unlink(missing_ok=True)


def down() -> None:
    """End the box; it takes along all that it made."""
    running = _running()
    if running is None:
        print("There is no box.")
        return
    running.terminate()
    running.wait(_STOP_SECONDS)


def _running() -> psutil.Process | None:
    """The program that holds the box; its number may be another's after it was killed."""
    try:
        found = psutil.Process(int(_PID.read_text()))
        return found if found.cmdline()[1:4] == ["-m", "box", "up"] else None
    except (FileNotFoundError, psutil.NoSuchProcess):
        return None


def _told(made: Box) -> str:
    variables = "\n".join(
        f"    export {name}={shlex.quote(value)}"
        for name, value in sorted(made.laptop.environment.items())
    )
    return f"""
A machine of {made.cloud} serves at https://{made.machine.address}, as environment {NAME!r}.

  its console      {made.guest.console}
  a shell in it    nsenter -t {made.guest.leader()} -a env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin sh
  a host let in    ip netns exec {made.inside.name} sh      ({made.inside.address})
  and one not      ip netns exec {made.outside.name} sh      ({made.outside.address})
  the laptop       {made.laptop.command[0]}, with these variables:

{variables}

Ctrl-C here, or `make box-down`, removes it all."""


if __name__ == "__main__":
    main()
