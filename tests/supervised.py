"""Stands in for systemd where none runs: supervisor starts the agent as its unit would.

`python supervised.py BOOT MACHINE_JSON FOLDER`: boot.py with its arguments. What the agent prints
goes to this program's own output, which is the machine's console, and what it logs to its log.
"""

import base64
import lzma
import os
import sys
from pathlib import Path

_SYSTEM_PYTHON = getattr(sys, "_base_executable", sys.executable)
"""Without what the tests have installed."""


def command(boot: Path, settings: Path, folder: Path) -> list[str | Path]:
    """How a machine is started."""
    return [sys.executable, __file__, boot, settings, folder]


def unpack(user_data: str) -> dict[str, str]:
    """The files that a machine's user-data packs, by their paths there."""
    packed = user_data.rpartition("<<'END'\n")[2].partition("\nEND\n")[0]
    parts = lzma.decompress(base64.b85decode(packed)).decode().split("\0")
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _main(boot: str, settings: str, folder: str) -> None:
    machine, python = Path(folder, "machine"), Path(settings).with_name("python")
    machine.mkdir(exist_ok=True, mode=0o700)
    console = Path("/proc/self/fd/1").readlink()
    agent = f"'{_SYSTEM_PYTHON}' '{boot}' '{settings}' '{folder}' >>'{console}'"
    # The services' start scripts call this for one of the kit's modules, supervisor for the agent.
    python.write_text(
        f'#!/bin/sh\n[ "$*" != "-P -m trackstack.agent" ] || exec {agent}\n'
        f"exec '{sys.executable}' \"$@\"\n"
    )
    python.chmod(0o700)
    launcher = ["-P", "-m", "trackstack.agent.launcher", machine, "of boot.py", "of boot.py"]
    os.execv(  # noqa: S606  the kit's own program
        sys.executable, [sys.executable, *launcher, "--python", python]
    )


if __name__ == "__main__":
    _main(*sys.argv[1:])
