"""The service's entry: `python -m trackstack.agent.models`, in the machine's folder.

The environment says where the control store is (TRACKSTACK_STORE) and what models' code runs in
(TRACKSTACK_WALLS): 'units' of systemd, a 'container' beside this one, or else bubblewrap.
"""

import logging
import os
from pathlib import Path

from trackstack.agent import folders
from trackstack.agent.models.contained import Contained
from trackstack.agent.models.serving import serve
from trackstack.agent.models.supervised import Supervised
from trackstack.agent.models.units import Units
from trackstack.agent.models.walls import Walls
from trackstack.agent.processes import SERVICE, end_leftovers
from trackstack.agent.supervisor import Supervisor
from trackstack.agent.systemd import Systemd
from trackstack.control.opening import open_store


def main() -> None:
    """Run until no model is wanted, or until told to stop; a stop at any line is safe."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    store = open_store(os.environ["TRACKSTACK_STORE"])
    folders.make_all(folders.OF_MODELS)
    serve(store, _walls(os.environ.get("TRACKSTACK_WALLS")))


def _walls(kind: str | None) -> Walls:
    if kind == "units":
        units = Units(Systemd())
        units.end_leftovers()
        return units
    end_leftovers(Path.cwd(), os.environ[SERVICE])
    return Contained() if kind == "container" else Supervised(Supervisor())


if __name__ == "__main__":
    main()
