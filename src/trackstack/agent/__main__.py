"""The agent's entry: `python -m trackstack.agent`, in the machine's folder.

The environment says where the control store is (TRACKSTACK_STORE, a folder or a bucket's address)
and under which id the machine reports (TRACKSTACK_MACHINE_ID). Services run under supervisor, or
under systemd where TRACKSTACK_SERVICES is 'systemd'.
"""

import logging
import os
import sys
from pathlib import Path

from trackstack.agent import folders
from trackstack.agent.converge import run_forever
from trackstack.agent.processes import holder
from trackstack.agent.report import Reporter
from trackstack.agent.supervisor import Supervisor
from trackstack.agent.systemd import Systemd
from trackstack.control.opening import open_store


def main() -> None:
    """Run until told to stop; a stop at any line is safe."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    store, machine = os.environ["TRACKSTACK_STORE"], os.environ["TRACKSTACK_MACHINE_ID"]

    def ensure_supervised() -> None:
        if holder(Path()) is None:
            _become_supervisor(store, machine)

    control = open_store(store)
    reporter = Reporter(control, machine)
    if os.environ.get("TRACKSTACK_SERVICES") == "systemd":
        run_forever(control, Systemd(), reporter)
    else:
        run_forever(control, Supervisor(), reporter, ensure_supervised)


def _become_supervisor(store: str, machine: str) -> None:
    """Start the machine afresh in place of a supervisor that was killed.

    The launcher ends whatever the killed one left; when another one is faster, it leaves.
    """
    log = os.open(folders.LAUNCHER_LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for stream in (1, 2):  # they lead to the supervisor that is gone
        os.dup2(log, stream)
    launcher = ["-P", "-m", "trackstack.agent.launcher", ".", store, machine]
    os.execv(sys.executable, [sys.executable, *launcher])  # noqa: S606  the kit's own program


if __name__ == "__main__":
    main()
