"""This computer as target: a folder, a supervisor, no root, no cloud."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from trackstack.agent import folders, launcher
from trackstack.control.directory import DirectoryStore, make_folder
from trackstack.errors import MissingError, TrackstackError
from trackstack.lock import uv_settings
from trackstack.outputs import Outputs
from trackstack.plan import Plan

MACHINE = "local"

_PROGRAM_FOLDERS = "/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
_KEPT_VARIABLES = {
    *("HOME", "USER", "LOGNAME", "LANG", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
}
# The last one, so that the tests see which of the agent's lines ran.
_KEPT_PREFIXES = ("LC_", "UV_", "COVERAGE_")
_STOP_SECONDS = 60.0
_START_SECONDS = 20.0
_NEEDED_BYTES = 3 * 1024**3
_FOLLOW_SECONDS = 0.2


class Local:
    """An environment in a folder of this computer.

    Attributes:
        store: the control store, a folder beside the machine's.
    """

    def __init__(self, folder: Path, cache: Path) -> None:
        self._machine = folder / "machine"
        self._control = folder / "control"
        self._cache = cache
        self.store = DirectoryStore(self._control)

    def check(self, plan: Plan, running: Plan | None) -> None:
        """Refuse what cannot work here; see Target."""
        if shutil.which("nginx", path=_program_folders()) is None:
            way = (
                "Install it with `brew install nginx`."
                if sys.platform == "darwin"
                else "Install it, such as with `sudo apt-get install nginx`, and stop its own "
                "service: `sudo systemctl disable --now nginx`."
            )
            raise MissingError("nginx is missing on this computer.", way)
        if "%" in str(self._machine.resolve()):
            # It reads its own place in a settings file that takes '%' for the start of a name.
            raise TrackstackError(
                f"MLflow cannot run below a folder with a percent sign in its name: "
                f"{self._machine.parent}.",
                "Set TRACKSTACK_HOME to another folder.",
            )
        free = shutil.disk_usage(_existing(self._machine)).free
        if running is None and free < _NEEDED_BYTES:
            raise MissingError(
                f"The disk of {self._machine} has {free / 1e9:.1f} GB left; "
                f"the server's packages and room to work need {_NEEDED_BYTES / 1e9:.1f} GB.",
                "Free some, or set TRACKSTACK_HOME to a folder on a larger disk.",
            )
        port = plan.nginx.port
        if not self._listens_on(port, running) and not _port_is_free(plan.nginx.address, port):
            free_port = _free_port_near(plan.nginx.address, port)
            raise TrackstackError(
                f"Port {port} of this computer is taken{_by_whom(port)}.",
                f"Choose another one, such as `--port {free_port}`.",
            )

    def _listens_on(self, port: int, running: Plan | None) -> bool:
        """Whether the port is taken by this machine itself, or by what a kill left of it."""
        if running is None or running.nginx.port != port:
            return False
        return self.running() or bool(launcher.strays(self._machine.resolve()))

    def outputs(self, plan: Plan) -> Outputs:
        """Where the plan's server will be."""
        return Outputs(url=f"http://{plan.nginx.address}:{plan.nginx.port}", machine=MACHINE)

    def start(self) -> None:
        """Have the supervisor and its agent run, apart from this terminal."""
        if self.running():
            return
        log_file = self._machine / folders.LOGS / "launcher.log"
        make_folder(log_file.parent)
        program = [sys.executable, "-P", "-m", "trackstack.agent.launcher"]
        handle = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as log:
            started = subprocess.Popen(
                [
                    *program,
                    str(self._machine),
                    os.path.relpath(self._control, self._machine),
                    MACHINE,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=self._environment(),
            )
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until and started.poll() is None:
            if self.running():
                return
            time.sleep(0.02)
        if not self.running():
            told = log_file.read_text(errors="replace").strip().splitlines() or ["no word of why"]
            raise TrackstackError(
                f"The machine's supervisor did not start: {told[-1]}.",
                f"{log_file} has all it said.",
            )

    def stop(self) -> None:
        """End every process of the machine, also those a killed supervisor left behind."""
        pid = launcher.holder(self._machine)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            until = time.monotonic() + _STOP_SECONDS
            while time.monotonic() < until and self.running():
                time.sleep(0.02)
            if self.running():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        launcher.end_strays(self._machine.resolve())

    def running(self) -> bool:
        """Whether the supervisor runs."""
        return launcher.holder(self._machine) is not None

    def purge(self) -> None:
        """Remove machine and control store, data too."""
        _remove(self._machine)
        _remove(self._control)

    def stored_bytes(self) -> int:
        """How much the server stores: database and artifacts."""
        data = self._machine / folders.DATA
        return sum(file.lstat().st_size for file in data.rglob("*") if file.is_file())

    def logs(self, service: str, follow: bool) -> Iterator[str]:
        """A service's log, line by line; see Target."""
        names = {
            "nginx": folders.NGINX_LOG,
            "mlflow": folders.MLFLOW_LOG,
            "agent": folders.AGENT_LOG,
        }
        path = self._machine / names[service]
        if not path.is_file():
            raise TrackstackError(f"{service} has not written a log yet.")
        return _lines(path, follow)

    def _environment(self) -> dict[str, str]:
        """What the machine's processes get of this shell's environment.

        Nothing of MLflow's or the clouds', so that a login in this shell is not the server's.
        """
        kept = {
            name: value
            for name, value in os.environ.items()
            if name in _KEPT_VARIABLES or name.startswith(_KEPT_PREFIXES)
        }
        own = {"UV_CACHE_DIR": str(self._cache / "uv"), **uv_settings()}
        return {**own, **kept, "PATH": _program_folders()}


def _program_folders() -> str:
    return f"{os.environ.get('PATH', '')}:{_PROGRAM_FOLDERS}".lstrip(":")


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _port_is_free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        # As nginx does: a closed connection that lingers does not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True


def _free_port_near(address: str, port: int) -> int:
    return next(near for near in range(port + 1, 65536) if _port_is_free(address, near))


def _by_whom(port: int) -> str:
    try:
        for connection in psutil.net_connections(kind="tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr
            if listens and listens.port == port:
                if connection.pid is None:
                    return ""
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        return ""
    return ""


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    elif path.is_dir():
        shutil.rmtree(path)


def _lines(path: Path, follow: bool) -> Iterator[str]:
    """Lines of a log; when it is followed, on into the new file after a rotation."""
    file = path.open("rb")
    try:
        while True:
            line = file.readline()
            if line.endswith(b"\n") or (line and not follow):
                yield line.decode(errors="replace").rstrip("\n")
            elif not follow:
                return
            else:
                file.seek(-len(line), os.SEEK_CUR)
                if _was_rotated(path, file.fileno()):
                    file.close()
                    file = path.open("rb")
                else:
                    time.sleep(_FOLLOW_SECONDS)
    finally:
        file.close()


def _was_rotated(path: Path, handle: int) -> bool:
    try:
        return path.stat().st_ino != os.fstat(handle).st_ino
    except FileNotFoundError:
        return False
