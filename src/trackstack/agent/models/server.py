"""Becomes the server of one model: `python -m trackstack.agent.models.server SERVICE`.

Run by supervisor in the machine's folder. The socket is opened here, outside the walls, so the
model gets a socket to answer on and no place in which to put one.
"""

import json
import os
import resource
import shutil
import signal
import socket
import sys
from pathlib import Path

from trackstack.agent import folders
from trackstack.agent.models import walls
from trackstack.agent.models.environments import python_places
from trackstack.agent.processes import MARK, SERVICE, end_leftovers
from trackstack.desired import Part

_BACKLOG = 2048
_RESERVED_MB = 4096
"""What numeric libraries set aside and never touch counts for the kernel's limit: 1.4 GB with
scikit-learn and pyarrow, as measured with MLflow 3.17."""
_SCORE = Path("/proc/self/oom_score_adj")
"""https://docs.kernel.org/filesystems/proc.html; macOS has none."""

_INSIDE = """\
import importlib.util, os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_DFL)  # until it serves there is nothing to end well
socket, most, seconds = sys.argv[1:]
if importlib.util.find_spec("mlflow.pyfunc.scoring_server.app") is None:  # before MLflow 2.22
    gunicorn = ["-m", "gunicorn", "--bind", "fd://" + socket, "--timeout", seconds]
    served = "mlflow.pyfunc.scoring_server.wsgi:app"
    os.execv(sys.executable, [sys.executable, "-P", *gunicorn, served])
import uvicorn
from mlflow.pyfunc.scoring_server.app import app


async def limited(scope, receive, send):
    if scope["type"] != "http":
        return await app(scope, receive, send)
    told = dict(scope["headers"]).get(b"content-length", b"0")
    if int(told) <= int(most):
        return await app(scope, receive, send)
    await send({"type": "http.response.start", "status": 413, "headers": []})
    await send({"type": "http.response.body", "body": b"Too large for this model.\\n"})


uvicorn.run(limited, fd=int(socket), access_log=False, server_header=False)
"""
"""Run by the model's own Python: what `mlflow models serve` runs, on a socket that is open."""


class Settings(Part):
    """What the server of one model runs with.

    Attributes:
        version: of the model.
        files: the folder with the model, in the machine's.
        environment: likewise, the one with its packages.
    """

    version: str
    files: str
    environment: str
    memory_mb: int
    request_mb: int
    seconds: int


def settings_file(service: str) -> Path:
    """Where a server's settings are kept."""
    return folders.SERVICES / f"{service}.json"


def socket_of(service: str) -> Path:
    """Where the server of a model listens."""
    return folders.MODEL_SERVERS / service / "socket"


def process_of(service: str) -> Path:
    """Holds the process id of a server, or of the walls around it."""
    return folders.MODEL_SERVERS / service / "pid"


def main(service: str) -> None:
    """Take up the socket, then become the server; whoever connects meanwhile waits for it."""
    settings = Settings.model_validate(json.loads(settings_file(service).read_bytes()))
    if SERVICE in os.environ:
        end_leftovers(Path.cwd(), service)
    process_of(service).parent.mkdir(mode=0o700, exist_ok=True)
    process_of(service).write_text(str(os.getpid()))
    listening = _listen(socket_of(service))
    _limit(settings.memory_mb)
    # To the whole group: the server ends its requests and goes, and the walls fall with it.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    environment = Path(settings.environment).absolute()
    python = environment / "bin" / "python"
    files = Path(settings.files).absolute()
    command = [str(python), "-P", "-c", _INSIDE]
    command += [str(listening.fileno()), str(settings.request_mb << 20), str(settings.seconds)]
    command = walls.within(command, read=(environment, files, *python_places(environment)))
    os.execve(str(shutil.which(command[0])), command, environment_of(settings))  # noqa: S606


def _limit(memory_mb: int) -> None:
    """Keep what one request can take within bounds; the keeper measures what was taken."""
    most = memory_mb + _RESERVED_MB << 20
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if _SCORE.is_file():
        # When this computer runs out of memory, a model goes before MLflow does.
        _SCORE.write_text("1000")


def _listen(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX)
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    listening.bind(str(new))
    listening.listen(_BACKLOG)
    listening.set_inheritable(True)
    # In one step: nginx takes a socket that is not there for a model that is not served.
    new.replace(path)
    return listening


def environment_of(settings: Settings) -> dict[str, str]:
    """The variables of a model's process: nothing of MLflow's or the machine's but its mark."""
    kept = {n: os.environ[n] for n in (MARK, SERVICE, "LANG", "TZ") if n in os.environ}
    own = "/tmp" if walls.there() else str(folders.TEMPORARY.absolute())  # noqa: S108  the walls' own
    programs = Path(settings.environment).absolute() / "bin"
    return {
        **kept,
        "PATH": f"{programs}:/usr/bin:/bin",
        "HOME": own,
        "TMPDIR": own,
        "PYTHONUNBUFFERED": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT": str(settings.seconds),
        "__pyfunc_model_path__": Path(settings.files).absolute().as_uri(),
    }


if __name__ == "__main__":
    main(sys.argv[1])
