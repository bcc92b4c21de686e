"""Becomes the server of one model: `python -m trackstack.agent.models.server SERVICE`.

Run by supervisor in the machine's folder. The socket is opened here, outside the walls, so the
model gets a socket to answer on and no place in which to put one.
"""

import os
import resource
import shutil
import signal
import sys
from pathlib import Path

from trackstack.agent import folders
from trackstack.agent.models import bubblewrap, inside, supervised
from trackstack.agent.models.environments import python_places
from trackstack.agent.models.settings import listen, settings_of, socket_of
from trackstack.agent.processes import SERVICE, end_leftovers

_SCORE = Path("/proc/self/oom_score_adj")
"""https://docs.kernel.org/filesystems/proc.html; macOS has none."""


def main(service: str) -> None:
    """Take up the socket, then become the server; whoever connects meanwhile waits for it."""
    settings = settings_of(service)
    walled = bubblewrap.there() if settings.walled is None else settings.walled
    if walled and not bubblewrap.there():
        sys.exit("The walls that this model was placed in cannot be put up now.")
    if SERVICE in os.environ:
        end_leftovers(Path.cwd(), service)
    folders.make_all([socket_of(service).parent])
    listening = listen(socket_of(service))
    listening.set_inheritable(True)
    _limit(settings.most_memory_mb)
    # To the whole group: the server ends its requests and goes, and the walls fall with it.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    view = supervised.server_view(settings, walled)
    command = inside.server(view, settings, str(listening.fileno()))
    if walled:
        read = (view.environment, view.files, *python_places(view.environment))
        command = bubblewrap.within(command, read=read)
    variables = inside.server_variables(view, settings) | supervised.belongings()
    os.execve(str(shutil.which(command[0])), command, variables)  # noqa: S606


def _limit(megabytes: int) -> None:
    """Keep what one request can take within bounds; the keeper measures what was taken."""
    most = megabytes << 20
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if _SCORE.is_file():
        # When this computer runs out of memory, a model goes before MLflow does.
        _SCORE.write_text("1000")


if __name__ == "__main__":
    main(sys.argv[1])
