"""The agent's entry: `python -m trackstack.agent`, in the machine's folder.

The environment says where the control store is (TRACKSTACK_STORE, a folder) and under which id
the machine reports (TRACKSTACK_MACHINE_ID).
"""

import logging
import os
from pathlib import Path

from trackstack.agent.converge import run_forever
from trackstack.agent.report import Reporter
from trackstack.agent.supervisor import Supervisor
from trackstack.control.directory import DirectoryStore


def main() -> None:
    """Run until told to stop; a stop at any line is safe."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    store = DirectoryStore(Path(os.environ["TRACKSTACK_STORE"]))
    run_forever(store, Supervisor(), Reporter(store, os.environ["TRACKSTACK_MACHINE_ID"]))


if __name__ == "__main__":
    main()
