"""A workspace as its user has it: the command on the engine's host, and what it deployed there."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compose.engine import Engine
from kits import CACHE, Kit, free_port, seed_packages
from trackstack import lock
from trackstack.desired import content_id
from trackstack.tracking import http_client

OWNER = "olga"
SERVICES = {"tracking", "models", "postgres", "sftp", "jupyter"}


@dataclass(frozen=True)
class Workspace(Kit):
    """One that is deployed, or will be.

    Attributes:
        engine: whose host the command runs on.
        jupyter_port: one that was free when the test began.
    """

    engine: Engine
    jupyter_port: int

    @property
    def environment(self) -> dict[str, str]:
        home = self.home.parent / "account"
        home.mkdir(exist_ok=True)
        return {**super().environment, **self.engine.variables, "HOME": str(home)}

    @property
    def command(self) -> list[str]:
        return self.engine.command(*super().command)

    @property
    def project(self) -> Path:
        """The folder that `docker compose` runs."""
        return self.folder("compose") / "compose"

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def lab(self) -> str:
        return f"https://127.0.0.1:{self.jupyter_port}"

    @property
    def deploying(self) -> list[str]:
        """The words that deploy it on the test's own ports."""
        ports = ("--port", str(self.port), "--jupyter-port", str(self.jupyter_port))
        made_from = ("--base-image", self.engine.base)
        return ["deploy", "compose", *ports, *made_from, "--user", OWNER, "--workers", "1"]

    def up(self, *flags: str | Path, ok: bool = True) -> "subprocess.CompletedProcess[str]":
        """Deploy it."""
        return self.run(*self.deploying, *flags, ok=ok, timeout=600)

    def left(self) -> dict[str, int]:
        """How much of each kind Docker has of it."""
        label = f"label=com.docker.compose.project={self.project_name}"
        kinds = {"containers": "ps", "volumes": "volume", "networks": "network", "images": "image"}
        counts = {
            kind: len(self.engine.docker(*_listing(word), "--filter", label).stdout.split())
            for kind, word in kinds.items()
        }
        return {kind: count for kind, count in counts.items() if count}

    @property
    def project_name(self) -> str:
        """What Docker calls it: by its folder, which may be gone."""
        mark = hashlib.sha256(str(self.folder("compose")).encode()).hexdigest()[:6]
        return f"trackstack-compose-{mark}"

    def json(self, *arguments: str | Path) -> Any:
        """What a command prints with --json."""
        return json.loads(self.run(*arguments, "--json").stdout)

    def token(self) -> str:
        """What JupyterLab asks for."""
        return str(self.json("status")["workspace"]["token"])

    def docker(self, *words: str, ok: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run `docker compose` in the workspace's folder."""
        return self.engine.docker("compose", "--project-directory", self.project, *words, ok=ok)

    def inside(self, service: str, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run something in a service's container, whatever comes of it."""
        return self.docker("exec", "-T", service, *command, ok=False)

    def inside_image(self, service: str, *command: str) -> list[str]:
        """The words that a program prints in a new container of a service's image."""
        image = f"{self.project_name}-{service}"
        told = self.engine.docker("run", "--rm", "--entrypoint", command[0], image, *command[1:])
        return told.stdout.split()

    def containers(self) -> dict[str, str]:
        """The id of each service's running container."""
        rows = [
            json.loads(row) for row in self.docker("ps", "--format", "json").stdout.splitlines()
        ]
        return {row["Service"]: row["ID"] for row in rows}

    def kill(self, service: str) -> None:
        """End a service's main process at once; Docker's own kill would count as asked for."""
        self.inside(service, "sh", "-c", "kill -9 $(cat /proc/1/task/1/children)")

    def client_variables(self) -> dict[str, str]:
        """What `trackstack env` prints."""
        return dict(self.json("env"))

    def status_of(self, user: str, password: str) -> int:
        """What one request of a user is answered with."""

        def ask() -> int:
            with http_client(self.url, self.authorities, (user, password)) as http:
                return http.get("/version").status_code

        return self.engine.inside(ask)

    @property
    def authorities(self) -> Path:
        return self.folder("compose") / "ca.pem"

    def client(self, *arguments: str | Path, folder: Path) -> "subprocess.CompletedProcess[str]":
        """Run a Python program as an MLflow user of this host would."""
        folder.mkdir(exist_ok=True)
        python = _client_python()
        done = subprocess.run(
            self.engine.command(python, *arguments),
            env={
                **self.client_variables(),
                "PATH": f"{python.parent}:/usr/bin:/bin",
                "HOME": str(folder),
                "TMPDIR": str(folder),
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "DO_NOT_TRACK": "true",
            },
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{arguments} failed:\n{done.stdout}\n{done.stderr}"
        return done


@contextmanager
def a_workspace(engine: Engine, base: Path) -> Iterator[Workspace]:
    """One that is not deployed yet; whatever of it Docker has is gone afterwards."""
    made = Workspace(base / "home", free_port(), engine, free_port())
    seed_packages(base / "seed")  # the client's
    try:
        yield made
    finally:
        if made.project.is_dir():
            made.docker("down", "--volumes", "--remove-orphans", "--rmi", "local", ok=False)
        subprocess.run(["rm", "-rf", base], check=True)


def _listing(word: str) -> list[str]:
    return ["ps", "--all", "--quiet"] if word == "ps" else [word, "ls", "--quiet"]


def _client_python() -> Path:
    """A Python with MLflow and scikit-learn, which all tests share."""
    name = content_id(lock.for_mlflow(lock.DEFAULT_MLFLOW))
    version = ".".join(str(part) for part in sys.version_info[:3])
    return CACHE / f"packages-{name}-{version}" / "bin" / "python"
