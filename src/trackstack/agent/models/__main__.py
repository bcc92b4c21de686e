"""The service's entry: `python -m trackstack.agent.models`, in the machine's folder."""

import logging
import os
from pathlib import Path

from trackstack.agent import folders
from trackstack.agent.models.serving import serve
from trackstack.agent.processes import SERVICE, end_leftovers
from trackstack.agent.supervisor import Supervisor
from trackstack.control.opening import open_store


def main() -> None:
    """Run until no model is wanted, or until told to stop; a stop at any line is safe."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    end_leftovers(Path.cwd(), os.environ[SERVICE])
    for folder in folders.OF_MODELS:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    serve(open_store(os.environ["TRACKSTACK_STORE"]), Supervisor())


if __name__ == "__main__":
    main()
