"""This computer as target: a folder, a supervisor, no root, no cloud."""

import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from trackstack.agent import folders, processes
from trackstack.agent.last_seen import request_logs
from trackstack.agent.models import bubblewrap
from trackstack.control.directory import DirectoryStore
from trackstack.durable import make_folder
from trackstack.errors import TrackstackError, UsageError
from trackstack.lock import uv_settings
from trackstack.outputs import Outputs
from trackstack.plan import Nginx, Plan
from trackstack.spec import EVERYWHERE, LOOPBACK
from trackstack.targets import at_login, computer, given_credentials, schema, stores
from trackstack.targets.base import NoWorkspace, Tell
from trackstack.targets.record_file import RecordFile

MACHINE = "local"

_PROGRAM_FOLDERS = "/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
_KEPT_VARIABLES = {
    *("HOME", "USER", "LOGNAME", "LANG", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
}
# The last one, so that the tests see which of the agent's lines ran.
_KEPT_PREFIXES = ("LC_", "UV_", "COVERAGE_")
_SQLITE = "sqlite:///"
_STOP_SECONDS = 60.0
_START_SECONDS = 20.0
_FOLLOW_SECONDS = 0.2
_WALLS = (
    "Each model runs within walls (bubblewrap): it sees its own files and packages, and of this "
    "computer the programs only; no network."
)
NO_WALLS = (
    "There are no walls around models on this computer: what they do, they do as this account, "
    "with its files and network. Installing bubblewrap (Linux) puts them up."
)


class Local(NoWorkspace, RecordFile):
    """An environment in a folder of this computer.

    Attributes:
        store: the control store, a folder beside the machine's.
    """

    first_word_seconds = 60.0
    where = "on this computer"

    def __init__(self, folder: Path, cache: Path) -> None:
        super().__init__(folder)
        self._machine = folder / "machine"
        self._control = folder / "control"
        self._cache = cache
        self.store = DirectoryStore(self._control)

    def make(self, plan: Plan, _tell: Tell, _refresh: bool = False) -> Outputs:
        """The agent makes all there is; see Target."""
        return self.outputs(plan)

    def check(self, plan: Plan, running: Plan | None) -> None:
        """Refuse what cannot work here; see Target."""
        _raise(computer.folder_problem(self._machine, computer.kernel(), computer.mounts()))
        nginx = shutil.which("nginx", path=program_folders())
        _raise(
            computer.nginx_problem(
                nginx,
                computer.nginx_settings(nginx) if nginx else "",
                computer.MODULES[plan.nginx.tls],
                computer.package_manager(),
            )
        )
        if running is None:
            free = shutil.disk_usage(computer.existing(self._machine)).free
            _raise(computer.room_problem(self._machine, free))
        _check_address(plan.nginx.address)
        _check_certificate(plan.nginx)
        port = plan.nginx.port
        if not self._listens_on(port, running) and not computer.port_is_free(
            plan.nginx.address, port
        ):
            free_port = computer.free_port_near(plan.nginx.address, port)
            raise TrackstackError(
                f"Port {port} of this computer is taken{computer.by_whom(port)}.",
                f"Choose another one, such as `--port {free_port}`.",
            )

    def _listens_on(self, port: int, running: Plan | None) -> bool:
        """Whether the port is taken by this machine itself, or by what a kill left of it."""
        if running is None or running.nginx.port != port:
            return False
        return self.running() or bool(processes.strays(self._machine.resolve()))

    def outputs(self, plan: Plan) -> Outputs:
        """Where the plan's server will be."""
        name, port = plan.nginx.names[0], plan.nginx.port
        if plan.nginx.tls == "upstream":
            return Outputs(url=f"https://{name}", machine=MACHINE)
        scheme = "http" if plan.nginx.tls == "none" else "https"
        return Outputs(url=f"{scheme}://{name}:{port}", machine=MACHINE)

    def store_credentials(self) -> dict[str, str]:
        """The variables that open an outer database or bucket, as kept; secret."""
        return given_credentials.read(self._machine / folders.STORES)

    def keep_store_credentials(self, variables: dict[str, str]) -> None:
        """Keep them in the machine's data, for the owner only."""
        if variables != self.store_credentials():
            given_credentials.write(self._machine / folders.STORES, variables)

    def try_stores(self, given: dict[str, str], drivers: list[str], packages: str) -> None:
        """Open the outer stores as the server will; see Target."""
        stores.try_stores(given, drivers, packages, self._environment())

    def start(self) -> None:
        """Have the supervisor and its agent run, apart from this terminal."""
        if self.running():
            return
        log_file = self._machine / folders.LAUNCHER_LOG
        make_folder(log_file.parent)
        handle = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as log:
            started = subprocess.Popen(
                self._launcher(),
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
        pid = processes.holder(self._machine)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            until = time.monotonic() + _STOP_SECONDS
            while time.monotonic() < until and self.running():
                time.sleep(0.02)
            if self.running():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        processes.end_strays(self._machine.resolve())

    def running(self) -> bool:
        """Whether the supervisor runs."""
        return processes.holder(self._machine) is not None

    def check_at_login(self) -> None:
        """Refuse to take the place of another environment's unit; see Target."""
        at_login.check(self._starter())

    def start_at_login(self, wanted: bool) -> str | None:
        """Have it started at login, or no longer; see Target."""
        if wanted:
            return at_login.install(self._starter())
        at_login.remove(self._starter())
        return None

    def starts_at_login(self) -> bool:
        """Whether it is started at login."""
        return at_login.installed(self._starter())

    def leftovers(self) -> list[str]:
        """Processes that a killed supervisor left running."""
        if self.running():
            return []
        strays = processes.strays(self._machine.resolve())
        return [f"{name} ({pid})" for pid, name in computer.named(strays)]

    def schema(self, plan: Plan, packages: str) -> schema.State | None:
        """How the database fits the installed MLflow; see Target."""
        if not plan.mlflow.database.startswith(_SQLITE):
            return None
        database = self._machine / plan.mlflow.database.removeprefix(_SQLITE)
        return schema.compare(database, self._machine / folders.PACKAGES / packages)

    def purge(self) -> None:
        """Remove machine and control store, data too."""
        _remove(self._machine)
        _remove(self._control)

    def stored_bytes(self) -> int:
        """How much the server stores: database and artifacts."""
        data = self._machine / folders.DATA
        return sum(file.lstat().st_size for file in data.rglob("*") if file.is_file())

    def room_problem(self) -> TrackstackError | None:
        """A full disk, or None."""
        free = shutil.disk_usage(computer.existing(self._machine)).free
        return computer.full_problem(self._machine, free)

    def requests(self) -> Iterator[str]:
        """nginx's log as far back as it goes, the oldest line first."""
        for path in request_logs(self._machine / folders.NGINX_LOG):
            if path.is_file():
                yield from _lines(path, follow=False)

    def logs(self, service: str, follow: bool) -> Iterator[str]:
        """A service's log, line by line; see Target."""
        path = folders.log_of(service, self._machine)
        if not path.is_file():
            raise TrackstackError(f"{service} has not written a log yet.")
        return _lines(path, follow)

    def walls(self) -> str:
        """That depends on whether bubblewrap works here; see Target."""
        return _WALLS if bubblewrap.there() else NO_WALLS

    def _launcher(self) -> list[str]:
        control = os.path.relpath(self._control, self._machine)
        program = [sys.executable, "-P", "-m", "trackstack.agent.launcher"]
        return [*program, str(self._machine), control, MACHINE]

    def _starter(self) -> at_login.Starter:
        of_login = ("HOME", "USER", "LOGNAME")
        variables = {k: v for k, v in self._environment().items() if k not in of_login}
        name = self._machine.parent.name
        return at_login.Starter(name, self._machine, self._launcher(), variables)

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
        return {**own, **kept, "PATH": program_folders()}


def program_folders() -> str:
    """Where the machine's programs are looked for: this shell's PATH, then the usual places."""
    return f"{os.environ.get('PATH', '')}:{_PROGRAM_FOLDERS}".lstrip(":")


def _check_address(address: str) -> None:
    addresses = [
        each.address
        for those in psutil.net_if_addrs().values()
        for each in those
        if each.family == socket.AF_INET
    ]
    if address not in (EVERYWHERE, LOOPBACK, *addresses):
        raise UsageError(
            f"{address} is not an address of this computer, which has {', '.join(addresses)}.",
            "Listen on one of these; an address that only others see goes into hostnames.",
        )


def _check_certificate(nginx: Nginx) -> None:
    """See that nginx will be able to show a given certificate."""
    if nginx.certificate is None or nginx.key is None:
        return
    try:
        # Without a password of its own, OpenSSL would ask for one on the terminal.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(nginx.certificate, nginx.key, password="")
    except OSError as error:  # an SSLError is one too
        why = None if isinstance(error, ssl.SSLError) else error.strerror
        raise UsageError(
            f"{nginx.certificate} and {nginx.key} are not a certificate and its key that this "
            f"account can read: {why or 'they are damaged, encrypted or do not belong together'}.",
            "Both are PEM; the certificate comes first in its file, then those it hangs on.",
        ) from error


def _raise(problem: TrackstackError | None) -> None:
    if problem is not None:
        raise problem


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
