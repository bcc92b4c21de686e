"""A machine's folder with a real supervisor and nginx, and a stand-in for MLflow."""

import hashlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xmlrpc.client
import zipfile
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
from supervisor.xmlrpc import SupervisorTransport

from kits import free_port
from trackstack import credentials
from trackstack.agent import folders, processes
from trackstack.control.base import change, read
from trackstack.control.directory import DirectoryStore
from trackstack.desired import Observed, Release, User, Users, observed_key
from trackstack.outputs import Outputs
from trackstack.plan import make_plan
from trackstack.release import render_release
from trackstack.spec import LocalSpec, Server

HERE = Path(__file__).parent
MACHINE = "local"
DEADLINE_SECONDS = 25.0
"""Shorter than the agent's heartbeat: what was waited for did not come by that."""
_HASHES = {word: credentials.hash_password(word) for word in ("one", "two", "three")}


@dataclass(frozen=True)
class Outcome:
    """How one round ended.

    Attributes:
        effects: of the step that was watched, the last one not done when it was killed.
    """

    killed: bool
    healthy: bool
    effects: list[str]


@dataclass
class Box:
    """One machine.

    Attributes:
        folder: of everything; its name is short, because a socket's path may hold 104 bytes.
        port: where nginx listens unless a release says otherwise.
        lock: the stand-in's package lock.
    """

    folder: Path
    port: int
    lock: str
    driver: "subprocess.Popen[str] | None" = None
    store: DirectoryStore = field(init=False)

    def __post_init__(self) -> None:
        self.store = DirectoryStore(self.folder / "control")

    @property
    def machine(self) -> Path:
        return self.folder / "machine"

    def round(self, step: str | None = None, at: int | str = 0) -> Outcome:
        """Run the agent for one round, to its end or to that effect of that step."""
        assert self.driver is not None
        assert self.driver.stdin is not None
        assert self.driver.stdout is not None
        self.driver.stdin.write(json.dumps({"step": step, "at": at}) + "\n")
        self.driver.stdin.flush()
        return Outcome(**json.loads(self.driver.stdout.readline()))

    def want_release(self, workers: int = 1, port: int | None = None, **parts: object) -> Release:
        """Write a release as deploy does.

        Args:
            workers: of MLflow.
            port: of nginx.
            parts: fields of the release to replace, such as `packages`; `nginx_settings` is a
                line more of them; `with_credentials` for a store's.
        """
        port = port or self.port
        server = Server(port=port, workers=workers, mlflow="3.17.2")
        spec = LocalSpec(
            target="local", environment="test", server=server, users=["ada"], protected=False
        )
        given = 1 if parts.get("with_credentials") else 0
        plan = make_plan(spec, packages=str(parts.get("packages", self.lock)), secrets=given)
        content = render_release(plan, Outputs(url=f"http://127.0.0.1:{port}", machine=MACHINE))
        more = parts.get("nginx_settings")
        if more:
            content["files"] = tuple(
                file.model_copy(update={"content": f"{file.content}{more}\n"})
                if file.path == "nginx/nginx.conf"
                else file
                for file in content["files"]  # type: ignore[attr-defined]
            )
        return change(self.store, Release, "test", lambda _: content)

    def want_users(
        self, users: Mapping[str, str], expires: Mapping[str, datetime] | None = None
    ) -> Users:
        """Write who may enter: a password by name."""
        now = datetime.now(UTC)
        people = {
            name: User(
                hash=_HASHES[word], created=now, rotated=now, expires=(expires or {}).get(name)
            )
            for name, word in users.items()
        }
        return change(self.store, Users, "test", lambda _: {"users": people})

    def observed(self) -> Observed | None:
        return read(self.store, Observed, observed_key(MACHINE))[0]

    def wait_observed(
        self,
        wanted: Callable[[Observed], bool],
        what: str,
        seconds: float = DEADLINE_SECONDS,
    ) -> Observed:
        """Wait until the machine's report is as wanted."""
        until = time.monotonic() + seconds
        while True:
            report = self.observed()
            if report is not None and wanted(report):
                return report
            left = until - time.monotonic()
            assert left > 0, f"{what} was never reported; the last report: {report}"
            self.store.wait_for_change({observed_key(MACHINE): _tag(self)}, min(left, 0.5))

    def ask(
        self, user: str, password: str, port: int | None = None, path: str = "/"
    ) -> tuple[int, str]:
        """Status and body of a request from outside; 0 when nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=10)
        login = b64encode(f"{user}:{password}".encode()).decode()
        try:
            connection.request("GET", path, headers={"Authorization": f"Basic {login}"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error)
        finally:
            connection.close()

    def faults(self, release: Release, workers: int, users: Mapping[str, str]) -> list[str]:
        """All that is not as it must be once a release and users hold."""
        port = int(release.url.rpartition(":")[2])
        return [
            *self._report_faults(release),
            *self._entry_faults(port, workers, users),
            *self._process_faults(release),
            *self._file_faults(release, users),
        ]

    def _report_faults(self, release: Release) -> Iterator[str]:
        report = self.observed()
        people = read(self.store, Users)[0]
        if report is None or people is None:
            yield "there is no report"
            return
        if not report.healthy:
            yield f"not healthy: {report.failed_step()}"
        if (report.applied.release, report.applied.users) != (
            release.generation,
            people.generation,
        ):
            yield f"other generations are applied: {report.applied}"
        if report.release_id != release.id:
            yield f"another release is live: {report.release_id}"

    def _entry_faults(self, port: int, workers: int, users: Mapping[str, str]) -> Iterator[str]:
        for name in sorted({"ada", "grace", "linus"}):
            for word in _HASHES:
                status, body = self.ask(name, word, port)
                # 429 is a refusal too: these tests guess more often than people do.
                expected = {200} if users.get(name) == word else {401, 429}
                if status not in expected:
                    yield f"{name} with password {word!r} gets {status}: {body}"
                if status == 200 and body != f"workers {workers}\n":
                    yield f"{name} is served by {body!r}"

    def _process_faults(self, release: Release) -> Iterator[str]:
        running = self.services()
        servers = [p for p in running if "--uds run/mlflow-" in p]
        if len(servers) != 1 or f"run/{release.mlflow}.sock" not in servers[0]:
            yield f"not exactly one MLflow, of this release: {servers}"
        masters = [p for p in running if "nginx: master" in p]
        if len(masters) != 1:
            yield f"not exactly one nginx: {masters}"

    def _file_faults(self, release: Release, users: Mapping[str, str]) -> Iterator[str]:
        machine = self.machine
        settings = machine / folders.NGINX_SETTINGS
        if str(settings.readlink()) != f"releases/{release.id}/nginx/nginx.conf":
            yield f"nginx is set up from {settings.readlink()!s}"
        if str((machine / folders.LIVE).readlink()) != f"releases/{release.id}":
            yield f"live is {(machine / folders.LIVE).readlink()!s}"
        placed = {f"services/{path.name}" for path in (machine / folders.SERVICES).iterdir()}
        wanted = {file.path for file in release.files if file.path.startswith("services/")}
        if placed != wanted:
            yield f"services differ by {placed ^ wanted}"
        for file in release.files:
            for root in (machine, machine / folders.RELEASES / release.id):
                path = root / file.path
                if path.is_file() and path.read_text() != file.content:
                    yield f"{path} holds something else"
        entered = {str(path.relative_to(machine)) for path in (machine / folders.USERS).rglob("*")}
        if entered != {f"users/{name}" for name in users} | {f"users/{n}/current" for n in users}:
            yield f"users' files are {sorted(entered)}"
        packages = [path.name for path in (machine / folders.PACKAGES).iterdir()]
        if packages != [release.packages_id]:
            yield f"packages are {packages}"
        sockets = {path.name for path in (machine / folders.RUN).glob("*.sock")}
        if sockets != {"supervisor.sock", "nginx.sock", f"{release.mlflow}.sock"}:
            yield f"sockets are {sorted(sockets)}"
        halves = [path for path in machine.rglob("*") if path.name.startswith((".new-", "new"))]
        halves += list(machine.glob("*.new"))
        if halves:
            yield f"half-made: {sorted(str(path.relative_to(machine)) for path in halves)}"

    def processes(self) -> list[str]:
        """The command lines of all that works in the machine's folder."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.cwd() == str(self.machine):
                    found.append(" ".join(process.cmdline()))
        return found

    def services(self) -> list[str]:
        """Those command lines, but for nginx's workers, which a reload replaces one by one."""
        until = time.monotonic() + DEADLINE_SECONDS
        while True:
            found = sorted(p for p in self.processes() if "nginx: worker" not in p)
            # A worker carries its master's title for the moment after it was forked.
            if sum("nginx: master" in p for p in found) == 1 or time.monotonic() > until:
                return found
            time.sleep(0.02)

    def kill_round(self) -> None:
        """Kill the round that runs now, but not what it has started."""
        assert self.driver is not None
        for child in psutil.Process(self.driver.pid).children():
            child.kill()

    def restart(self, service: str) -> None:
        """Restart a service as supervisor would after it has ended."""
        supervisor = _Rpc(self.machine)
        supervisor.call("stopProcess", service)
        supervisor.call("startProcess", service)

    def files(self) -> dict[str, tuple[int, int]]:
        """Every file of the machine but logs, with its inode and the time of its last change."""
        told = {path: path.lstat() for path in self.machine.rglob("*")}
        return {
            str(path.relative_to(self.machine)): (about.st_ino, about.st_mtime_ns)
            for path, about in told.items()
            if folders.LOGS.name not in path.parts
        }

    def process(self, *words: str) -> psutil.Process:
        """The one process in the machine's folder whose arguments hold these words."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.cwd() == str(self.machine) and set(words) <= set(process.cmdline()):
                    found.append(process)
        assert len(found) == 1, f"not one process of {words}: {found}"
        return found[0]

    def make_fresh(self) -> None:
        """Back to a machine that was never deployed to, but for its packages."""
        supervisor = _Rpc(self.machine)
        for process in supervisor.call("getAllProcessInfo"):
            if process["name"] != "agent":
                with suppress(Exception):
                    supervisor.call("stopProcess", process["name"])
                supervisor.call("removeProcessGroup", process["name"])
        for entry in self.machine.iterdir():
            if entry.is_symlink():
                entry.unlink()
            elif entry.is_dir() and entry.name not in {"run", "logs", "tmp", "packages"}:
                shutil.rmtree(entry)
        for path in (self.machine / "run").glob("mlflow-*"):
            path.unlink()
        shutil.rmtree(self.folder / "control", ignore_errors=True)


class _Rpc:
    """The supervisor of a machine whose folder this process is not in."""

    def __init__(self, machine: Path) -> None:
        self._socket = machine / folders.SUPERVISOR_SOCKET

    def call(self, method: str, *arguments: object) -> object:
        transport = SupervisorTransport(None, None, f"unix://{self._socket}")
        try:
            proxy = xmlrpc.client.ServerProxy("http://localhost", transport=transport)
            return getattr(proxy.supervisor, method)(*arguments)
        finally:
            transport.close()


def _tag(box: Box) -> str | None:
    stored = box.store.get(observed_key(MACHINE))
    return stored.tag if stored else None


@contextmanager
def running_box(driven: bool) -> Iterator[Box]:
    """A machine with a supervisor; its processes and its folder are gone afterwards.

    Args:
        driven: whether the rounds are run by the test, one by one; else the real agent runs.
    """
    with tempfile.TemporaryDirectory(prefix="box-", dir="/tmp") as name:
        folder = Path(name).resolve()
        box = Box(folder, free_port(), make_wheel(folder))
        box.machine.mkdir(mode=0o700)
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")},
            "UV_CACHE_DIR": str(folder / "uv"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        start = [str(HERE / "idle.py")] if driven else ["-P", "-m", "trackstack.agent.launcher"]
        processes = []
        with (folder / "launcher.log").open("wb") as log:
            processes.append(
                subprocess.Popen(
                    [sys.executable, *start, str(box.machine), "../control", MACHINE],
                    stdout=log,
                    stderr=log,
                    env=environment,
                    start_new_session=True,
                )
            )
            try:
                _wait_for_supervisor(box, processes[0])
                if driven:
                    box.driver = _start_driver(box, environment)
                yield box
            finally:
                _end(box, processes[0])


def _start_driver(box: Box, environment: dict[str, str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, str(HERE / "driver.py")],
        cwd=box.machine,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={
            **environment,
            "TRACKSTACK_STORE": "../control",
            "TRACKSTACK_MACHINE_ID": MACHINE,
            "TMPDIR": str(box.machine / folders.TEMPORARY),
        },
    )


def _wait_for_supervisor(box: Box, supervisor: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + DEADLINE_SECONDS
    while not (box.machine / folders.SUPERVISOR_SOCKET).exists():
        assert supervisor.poll() is None, (box.folder / "launcher.log").read_text()
        assert time.monotonic() < until, "the supervisor does not start"
        time.sleep(0.02)


def _end(box: Box, supervisor: "subprocess.Popen[bytes]") -> None:
    if box.driver is not None:
        assert box.driver.stdin is not None
        assert box.driver.stdout is not None
        box.driver.stdin.close()
        box.driver.wait(DEADLINE_SECONDS)
        box.driver.stdout.close()
    supervisor.send_signal(signal.SIGTERM)
    try:
        supervisor.wait(DEADLINE_SECONDS)
    except subprocess.TimeoutExpired:
        supervisor.kill()
        supervisor.wait()
    processes.end_strays(box.machine)


def make_wheel(folder: Path, **files: str) -> str:
    """Pack the stand-in, and further files, as a wheel; returns a lock that holds it alone."""
    wheel = folder / "mlflow-3.17.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as packed:
        for package in (
            *("mlflow", "mlflow/server", "mlflow/server/fastapi_app"),
            *("uvicorn", "uvicorn/_subprocess"),
        ):
            packed.writestr(f"{package}/__init__.py", "")
        packed.writestr("mlflow/__main__.py", (HERE / "standin_mlflow.py").read_text())
        packed.writestr("uvicorn/__main__.py", (HERE / "standin_uvicorn.py").read_text())
        for file, content in files.items():
            packed.writestr(f"mlflow/{file}", content)
        about = "mlflow-3.17.2.dist-info"
        packed.writestr(
            f"{about}/METADATA", "Metadata-Version: 2.1\nName: mlflow\nVersion: 3.17.2\n"
        )
        packed.writestr(
            f"{about}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        packed.writestr(f"{about}/RECORD", "")
    return lock_of(wheel.as_uri(), wheel.read_bytes())


def lock_of(address: str, wheel: bytes) -> str:
    return f"mlflow @ {address} --hash=sha256:{hashlib.sha256(wheel).hexdigest()}\n"


@dataclass
class Index:
    """A place to download one wheel from, which takes its time.

    Attributes:
        asked: somebody wants the wheel.
        asked_again: a second time.
        serve: from now on it is served.
    """

    address: str = ""
    asked: threading.Event = field(default_factory=threading.Event)
    asked_again: threading.Event = field(default_factory=threading.Event)
    serve: threading.Event = field(default_factory=threading.Event)


@contextmanager
def slow_index(wheel: bytes) -> Iterator[Index]:
    """Serve a wheel only when told to."""
    index = Index()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._head()

        def do_GET(self) -> None:
            (index.asked_again if index.asked.is_set() else index.asked).set()
            index.serve.wait(DEADLINE_SECONDS)
            with suppress(ConnectionError):
                self._head()
                self.wfile.write(wheel)

        def _head(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(wheel)))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    index.address = f"http://127.0.0.1:{server.server_port}/mlflow-3.17.2-py3-none-any.whl"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield index
    finally:
        index.serve.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def bystander(ask: Callable[[], int], pause: float = 0.03) -> Iterator[list[int]]:
    """Somebody who asks all the time, with a pause of so many seconds; the statuses."""
    statuses: list[int] = []
    over = threading.Event()

    def stand_by() -> None:
        while not over.is_set():
            statuses.append(ask())
            over.wait(pause)

    thread = threading.Thread(target=stand_by)
    thread.start()
    try:
        yield statuses
    finally:
        over.set()
        thread.join()


def soon(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)
