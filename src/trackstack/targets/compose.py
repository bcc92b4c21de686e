"""A workspace in this computer's Docker as target: the server, its stores, JupyterLab."""

import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from trackstack.agent import folders
from trackstack.control.directory import DirectoryStore
from trackstack.desired import AUTHORITIES_KEY, content_id
from trackstack.durable import write_durably
from trackstack.errors import TrackstackError, UsageError
from trackstack.outputs import Outputs
from trackstack.plan import Plan
from trackstack.spec.compose import CLIENT
from trackstack.targets import compose_folder, computer, docker, given_credentials
from trackstack.targets.base import Event, Kept, Tell, Workspace
from trackstack.targets.record_file import RecordFile

MACHINE = "compose"
_ROOTS_STAND_IN = 10078
"""Whose number processes in the containers have when root deploys: nobody's."""
_GIVEN = "given-credentials.env"
"""As this computer has them; the container gets copies under names of its own."""
_MADE = ".made"
"""Holds the hash of what the images were made from last."""
_MACHINE_FOLDER = Path("/var/lib/trackstack")
_LOGS = {
    "nginx": folders.NGINX_LOG,
    "mlflow": folders.MLFLOW_LOG,
    "agent": folders.AGENT_LOG,
}
_WITHOUT_LOGS = ("tracking", "models")
"""Services whose containers say nothing: what they do is in files."""
_STORED = (
    ("postgres", "postgres", "/var/lib/postgresql"),
    ("sftp", "artifacts", "/artifacts"),
)
"""What keeps runs and artifacts: a service, its volume, and where that is in its container."""


class Compose(RecordFile):
    """An environment in containers, and in a folder of this computer that `docker compose` runs.

    Attributes:
        store: the control store, a folder that the server's container sees too.
    """

    first_word_seconds = 120.0
    where = "in this computer's Docker"
    clients: tuple[str, ...] = (CLIENT,)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._folder = folder / "compose"
        self._control = folder / "control"
        self._owner = None if os.getuid() else _ROOTS_STAND_IN
        self.store = DirectoryStore(self._control, self._owner)

    def rendered(self, plan: Plan) -> dict[str, bytes]:
        """The folder that `docker compose` runs, without its secrets; see Target."""
        files = self._files(plan)
        return {f"compose/{path}": data for path, data in files.items()}

    def make(self, plan: Plan, tell: Tell, _refresh: bool = False) -> Outputs:
        """Render the folder and make the images, unless that is how they are; see Target."""
        wanted = content_id([plan.model_dump(mode="json"), *self._who()])
        if self._made() != wanted or not docker.has_images(self._folder):
            for path, data in self._files(plan).items():
                # For all to read: an image takes the rights over, and others' processes run in it.
                write_durably(self._folder / path, data, 0o644)
            for path, data in compose_folder.made_secrets(self._folder).items():
                write_durably(self._folder / path, data, owner=self._owner)
            (self._folder / "client").mkdir(exist_ok=True)
            began = time.monotonic()
            event = Event(resource="images", type="compose", what="make", state="started")
            tell(event)
            docker.compose(self._folder, "build")
            took = time.monotonic() - began
            tell(event.model_copy(update={"state": "done", "seconds": took}))
            write_durably(self._folder / _MADE, wanted.encode())
        return self.outputs(plan)

    def check(self, plan: Plan, running: Plan | None) -> None:
        """Refuse what cannot work here; see Target."""
        assert plan.compose is not None  # noqa: S101  it is this target's plan
        missing = docker.problem()
        if missing is not None:
            raise missing
        if running is None:
            free = shutil.disk_usage(computer.existing(self._folder)).free
            small = computer.room_problem(self._folder, free)
            if small is not None:
                raise small
        if plan.compose.folder:
            self._check_folder(Path(plan.compose.folder))
        ours = _ports(running) if running and self.running() else {}
        for flag, port in _ports(plan).items():
            address = plan.compose.listen
            if port not in ours.values() and not computer.port_is_free(address, port):
                free_port = computer.free_port_near(address, port)
                raise TrackstackError(
                    f"Port {port} of this computer is taken{computer.by_whom(port)}.",
                    f"Choose another one, such as `{flag} {free_port}`.",
                )

    def _check_folder(self, folder: Path) -> None:
        """Refuse a folder for artifacts that the server could not write to."""
        if not folder.is_dir():
            raise UsageError(
                f"There is no folder {folder} on this computer.",
                "Make it first, or leave out --artifacts: then an SFTP server keeps them.",
            )
        user = self._who()[0]
        # Root may write anywhere, and the user that stands in for root only to what it owns.
        own = folder.stat().st_uid == user if self._owner else os.access(folder, os.W_OK | os.X_OK)
        if not own:
            raise UsageError(
                f"The server, which runs as user {user}, could not write to {folder}.",
                f"Give it that folder: `chown {user} {folder}`.",
            )

    def outputs(self, plan: Plan) -> Outputs:
        """Where the plan's server will be."""
        return Outputs(url=f"https://{plan.nginx.names[0]}:{plan.nginx.port}", machine=MACHINE)

    def workspace(self, plan: Plan) -> Workspace:
        """Where JupyterLab is, and what it asks for."""
        assert plan.compose is not None  # noqa: S101  it is this target's plan
        token = self._folder / compose_folder.TOKEN
        return Workspace(
            url=f"https://{plan.nginx.names[0]}:{plan.compose.jupyter_port}",
            token=token.read_text() if token.is_file() else "",
        )

    def run_example(self) -> str:
        """Run the example of JupyterLab's image; see Target."""
        if "jupyter" not in docker.containers(self._project, "status=running"):
            raise TrackstackError(
                "JupyterLab does not run.", "Start it again with the command that deployed it."
            )
        program = ("/opt/trackstack/jupyter/bin/python", "/opt/trackstack/run_notebook.py")
        example = "/opt/trackstack/mlflow-example.ipynb"
        return docker.compose(self._folder, "exec", "-T", "jupyter", *program, example)

    def keep_client(self, user: str, password: str) -> None:
        """Give the workspace's own client its login; see Target."""
        compose_folder.write_credentials(self._folder, user, password, self._owner)

    def client_password(self, _user: str) -> str | None:
        """The password the workspace's own client has; see Target."""
        return compose_folder.password(self._folder)

    def store_credentials(self) -> dict[str, str]:
        """The variables that open an outer bucket, as they were in this shell; secret."""
        return given_credentials.read(self._folder / _GIVEN)

    def keep_store_credentials(self, variables: dict[str, str]) -> None:
        """Keep them, and give the server's container those and a copy of each file they name."""
        if variables == self.store_credentials():
            return
        inside = dict(variables)
        for name in given_credentials.FILES:
            if name in variables:
                copy = f"{Path(compose_folder.STORES).parent}/{name.lower()}"
                content = Path(variables[name]).read_bytes()
                write_durably(self._folder / copy, content, owner=self._owner)
                inside[name] = f"/run/secrets/{name.lower()}"
        given_credentials.write(self._folder / compose_folder.STORES, inside, self._owner)
        given_credentials.write(self._folder / _GIVEN, variables)

    def try_stores(self, given: dict[str, str], drivers: list[str], packages: str) -> None:
        """Only from the server's container would it prove anything: its agent tries; see Target."""

    def start(self) -> None:
        """Have the server and its stores run as rendered, and nothing that was before."""
        docker.compose(self._folder, "up", "--detach", "--no-build", "tracking")

    def start_rest(self) -> None:
        """Have JupyterLab run, whose client has to trust the server by now; see Target."""
        authorities = self.store.get(AUTHORITIES_KEY)
        if authorities is not None:
            write_durably(self._folder / "client" / "ca.pem", authorities.data, 0o644)
        docker.compose(self._folder, "up", "--detach", "--no-build", "--remove-orphans")
        docker.drop_old_images(self._project)

    def stop(self) -> None:
        """End every container; their volumes stay."""
        if (self._folder / compose_folder.SETTINGS).is_file():
            docker.compose(self._folder, "down", "--remove-orphans")

    def kept_apart(self) -> tuple[Kept, ...]:
        """The volumes; see Target."""
        return tuple(
            Kept(name=name, why="a volume in Docker") for name in docker.volumes(self._project)
        )

    def running(self) -> bool:
        """Whether the server's container runs."""
        if not (self._folder / compose_folder.SETTINGS).is_file():
            return False
        return "tracking" in docker.containers(self._project, "status=running")

    def check_at_login(self) -> None:
        """Docker itself starts containers; see Target."""

    def start_at_login(self, _wanted: bool) -> None:
        """Docker itself starts containers; see Target."""

    def starts_at_login(self) -> bool:
        """Docker itself starts containers: with the computer, when it does."""
        return False

    def leftovers(self) -> list[str]:
        """Docker leaves none."""
        return []

    def schema(self, _plan: Plan, _packages: str) -> None:
        """It cannot be seen from here; see Target."""

    def purge(self) -> None:
        """Remove containers, volumes, networks, images and the folders."""
        if (self._folder / compose_folder.SETTINGS).is_file():
            everything = ("--volumes", "--remove-orphans", "--rmi", "local")
            docker.compose(self._folder, "down", *everything)
            docker.drop_old_images(self._project)
        for folder in (self._folder, self._control):
            if folder.is_dir():
                shutil.rmtree(folder)

    def stored_bytes(self) -> int | None:
        """How much database and artifacts take; see Target."""
        services = self._services()
        if not services:
            return None
        running = docker.containers(self._project, "status=running")
        total = 0
        for service, volume, folder in _STORED:
            if service not in services:
                continue  # artifacts are in a bucket, or a folder that is not the workspace's
            if service in running:
                du = ("du", "--summarize", "--bytes", folder)
                told = docker.compose(self._folder, "exec", "-T", service, *du)
                total += int(told.split()[0])
                continue
            user = services[service]["user"]
            size = docker.disk_usage(self._project, service, volume, user)
            if size is None:
                return None
            total += size
        return total

    def room_problem(self) -> TrackstackError | None:
        """A full disk, or None."""
        free = shutil.disk_usage(computer.existing(self._folder)).free
        return computer.full_problem(self._folder, free)

    def requests(self) -> Iterator[str]:
        """nginx's log as far back as it goes, the oldest line first."""
        if not self.running():
            return iter(())
        # Those that are not there are no failure.
        script = "for n in .5 .4 .3 .2 .1 ''; do cat logs/nginx.jsonl$n 2>/dev/null; done; true"
        return docker.lines(self._folder, *self._inside("sh", "-c", script))

    def walls(self) -> str:
        """All share a container; see Target."""
        return (
            "Models run in a container without a network or a secret: they see models' files and "
            "packages, and the image's programs. They are not shut off from each other, nor, while "
            "the packages of one are built, from the way out that it is given."
        )

    def logs(self, service: str, follow: bool) -> Iterator[str]:
        """A service's log, line by line; see Target."""
        of_model = service.startswith("model-")
        if service in _LOGS or of_model:
            return self._log_inside(service, follow)
        services = self._services()
        if services and service not in services:
            there = [*_LOGS, *(each for each in services if each not in _WITHOUT_LOGS)]
            raise UsageError(
                f"This workspace has no service {service!r}.",
                f"It has {', '.join(there[:-1])} and {there[-1]}.",
            )
        if not services or service not in docker.containers(self._project):
            raise TrackstackError(
                f"The log of {service} was in a container that is removed or was never made.",
                "The command that deployed it makes a new one.",
            )
        return docker.log(self._folder, service, follow)

    def _log_inside(self, service: str, follow: bool) -> Iterator[str]:
        """A log that is a file in the server's container."""
        if not self.running():
            raise TrackstackError(
                f"The log of {service} is in a container that does not run.",
                "Start it again with the command that deployed it.",
            )
        log = str(_LOGS[service]) if service in _LOGS else self._newest_log(service)
        tail = ("tail", "--quiet", "--lines=+1", log)
        if not follow:
            return docker.lines(self._folder, *self._inside(*tail))
        # It ends with who reads it, whose end the closed input tells.
        script = '"$@" --follow=name --retry & cat >/dev/null; kill $!'
        followed = self._inside("sh", "-c", script, "sh", *tail)
        return docker.lines(self._folder, *followed, held=True)

    def _newest_log(self, service: str) -> str:
        """That of a model's newest server, in the machine's folder."""
        listed = f"ls -t logs/{service}.????????.log 2>/dev/null || true"
        for newest in docker.lines(self._folder, *self._inside("sh", "-c", listed)):
            return newest.strip()
        raise TrackstackError(f"{service} has not written a log yet.")

    def _services(self) -> Mapping[str, Any]:
        """The services of the rendered folder, by name; none before there is one."""
        file = self._folder / compose_folder.SETTINGS
        found: dict[str, Any] = (
            yaml.safe_load(file.read_text())["services"] if file.is_file() else {}
        )
        return found

    def _who(self) -> tuple[int, int]:
        """Whose user and group processes in the containers have, by number."""
        return (self._owner, self._owner) if self._owner else (os.getuid(), os.getgid())

    def _files(self, plan: Plan) -> dict[str, bytes]:
        assert plan.compose is not None  # noqa: S101  it is this target's plan
        return compose_folder.rendered(plan, plan.compose, self._project, *self._who())

    @property
    def _project(self) -> str:
        """What Docker calls it: by the folder too, since several people may share an engine."""
        known = compose_folder.project(self._folder)
        if known is not None:
            return known
        environment = self._folder.parent
        mark = hashlib.sha256(str(environment).encode()).hexdigest()[:6]
        return f"trackstack-{environment.name}-{mark}"

    def _inside(self, *command: str) -> tuple[str, ...]:
        return ("exec", "-T", "--workdir", str(_MACHINE_FOLDER), "tracking", *command)

    def _made(self) -> str | None:
        try:
            return (self._folder / _MADE).read_text()
        except FileNotFoundError:
            return None


def _ports(plan: Plan) -> Mapping[str, int]:
    """The ports that are published, by the flags that choose others."""
    assert plan.compose is not None  # noqa: S101  it is this target's plan
    return {"--port": plan.nginx.port, "--jupyter-port": plan.compose.jupyter_port}
