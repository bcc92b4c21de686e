"""The agent's entry: `python -m trackstack.agent STORE_FOLDER MACHINE_ID`, in the machine's folder."""

import argparse
import logging
from pathlib import Path

from trackstack.agent.converge import run_forever
from trackstack.agent.report import Reporter
from trackstack.agent.supervisor import Supervisor
from trackstack.control.directory import DirectoryStore


def main() -> None:
    """Run until told to stop; a stop at any line is safe."""
    parser = argparse.ArgumentParser(prog="trackstack.agent")
    parser.add_argument("store", type=Path)
    parser.add_argument("machine")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    store = DirectoryStore(asked.store)
    run_forever(store, Supervisor(), Reporter(store, asked.machine))


if __name__ == "__main__":
    main()
