"""A workspace in Docker beside the tutorial's stack of the same services, from the same images."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import httpx

from bench.figures import Sample
from compose.engine import Engine, docker_engine
from compose.workspace import Workspace, a_workspace
from kits import eventually, free_port
from trackstack.tracking import http_client

MEGABYTES = 100
UP_SECONDS = 120.0
_TUTORIAL = """\
name: tutorial
services:
  tracking:
    image: {project}-tracking
    user: "10078:10078"
    entrypoint:
      - /opt/trackstack/packages/{packages}/bin/mlflow
      - server
      - --host=0.0.0.0
      - --port=5000
      - --backend-store-uri=postgresql+psycopg://mlflow@postgres/mlflow?passfile=/run/secrets/pgpass
      - --default-artifact-root=sftp://trackstack@sftp:2222/artifacts
    environment: {{MLFLOW_SERVER_ALLOWED_HOSTS: "*", HOME: /tmp, DO_NOT_TRACK: "true"}}
    ports: ["127.0.0.1:{port}:5000"]
    volumes: ["{secrets}/tracking:/run/secrets:ro"]
    depends_on: [postgres, sftp]
    restart: always
  postgres:
    image: {project}-postgres
    user: "10078:10078"
    volumes: ["postgres:/var/lib/postgresql", "{secrets}/postgres:/run/secrets:ro"]
    tmpfs: ["/run/postgresql:uid=10078,gid=10078"]
  sftp:
    image: {project}-sftp
    user: "10078:10078"
    volumes: ["artifacts:/artifacts", "{secrets}/sftp:/run/secrets:ro"]
  jupyter:
    image: {project}-jupyter
    user: "10078:10078"
    ports: ["127.0.0.1:{jupyter_port}:8888"]
    volumes: ["notebooks:/home/jupyter", "{secrets}/jupyter:/run/secrets:ro"]
volumes: {{postgres: {{}}, artifacts: {{}}, notebooks: {{}}}}
"""
# In JupyterLab's container, where a client of the tutorial's reaches the SFTP server itself.
_PREPARE = """
set -eu
pip install --quiet 'paramiko<4' pysftp 2>/dev/null
mkdir -p ~/.ssh
python - <<'PYTHON'
import paramiko, pathlib
key = paramiko.RSAKey.generate(3072)
home = pathlib.Path.home() / ".ssh"
key.write_private_key_file(str(home / "id_rsa"))
(home / "config").write_text(f"Host sftp\\n  IdentityFile {home}/id_rsa\\n")
print(f"{key.get_name()} {key.get_base64()}")
PYTHON
"""
_UPLOADS = """
import json, os, sys, time
from pathlib import Path
import mlflow
from mlflow.store.artifact.sftp_artifact_repo import SFTPArtifactRepository

megabytes, rounds = int(sys.argv[1]), int(sys.argv[2])
sent = Path("/tmp/sent.bin")
sent.write_bytes(os.urandom(1 << 20) * megabytes)
direct = SFTPArtifactRepository("sftp://trackstack@sftp:2222/artifacts/direct")
mlflow.set_experiment("bench")
took = []
with mlflow.start_run():
    for number in range(rounds):
        began = time.perf_counter()
        mlflow.log_artifact(str(sent), f"round-{number}")
        ours = time.perf_counter() - began
        began = time.perf_counter()
        direct.log_artifact(str(sent), f"round-{number}")
        took.append((ours, time.perf_counter() - began))
print(json.dumps(took))
"""


def workspaces(folder: Path, rounds: int) -> Iterator[Sample]:
    """Both stacks from stopped to answering, and a large artifact on both ways; needs root."""
    with (
        docker_engine(folder / "docker") as engine,
        a_workspace(engine, folder / "workspace") as ours,
    ):
        ours.up()
        yield from _uploads(ours, rounds)
        ours.docker("down")
        with _tutorials(ours, folder) as theirs:
            # The first time of each only fills its volumes.
            for round_ in range(rounds + 1):
                pair = _ours_up(ours), theirs()
                if round_:
                    yield Sample("workspace-up", *pair)


def _uploads(ours: Workspace, rounds: int) -> Iterator[Sample]:
    """Megabytes a second through the server, and straight to the same SFTP server."""
    key = _must(ours.inside("jupyter", "sh", "-c", _PREPARE))
    secrets = ours.project / "secrets"
    with (secrets / "sftp" / "authorized-keys").open("a") as file:
        file.write(key)
    # pysftp looks for the host without its port.
    known = (secrets / "tracking" / "known-hosts").read_text().replace("[sftp]:2222", "sftp")
    write = f"echo '{known.strip()}' > ~/.ssh/known_hosts"
    _must(ours.inside("jupyter", "sh", "-c", write))
    jupyter = ours.containers()["jupyter"]
    ours.engine.docker("network", "connect", f"{ours.project_name}_stores", jupyter)
    told = _must(ours.inside("jupyter", "python", "-c", _UPLOADS, str(MEGABYTES), str(rounds)))
    size = MEGABYTES * (1 << 20) / 1e6
    for proxied, direct in json.loads(told.splitlines()[-1]):
        yield Sample("workspace-upload", size / proxied, size / direct)


@contextmanager
def _tutorials(ours: Workspace, folder: Path) -> Iterator[Callable[[], float]]:
    """The tutorial's stack; called, it says how long it took from stopped to answering."""
    project = folder / "tutorial"
    project.mkdir()
    port, jupyter_port = free_port(), free_port()
    (packages,) = ours.inside_image("tracking", "ls", "/opt/trackstack/packages")
    (project / "compose.yaml").write_text(
        _TUTORIAL.format(
            project=ours.project_name,
            packages=packages,
            secrets=ours.project / "secrets",
            port=port,
            jupyter_port=jupyter_port,
        )
    )

    def compose(*words: str) -> None:
        ours.engine.docker("compose", "--project-directory", project, *words)

    def up() -> float:
        urls = (f"http://127.0.0.1:{port}/version", f"http://127.0.0.1:{jupyter_port}/api")
        with httpx.Client(trust_env=False) as http:
            took = _until_all_answer(ours.engine, http, urls, lambda: compose("up", "--detach"))
        compose("down")
        return took

    try:
        yield up
    finally:
        compose("down", "--volumes")


def _ours_up(ours: Workspace) -> float:
    variables = ours.client_variables()
    login = tuple(variables[f"MLFLOW_TRACKING_{part}"] for part in ("USERNAME", "PASSWORD"))
    with http_client(ours.url, ours.authorities, login) as http:
        urls = (f"{ours.url}/version", f"{ours.lab}/api")
        took = _until_all_answer(ours.engine, http, urls, lambda: _start(ours))
    ours.docker("down")
    return took


def _must(done: "subprocess.CompletedProcess[str]") -> str:
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return done.stdout


def _start(ours: Workspace) -> None:
    ours.docker("up", "--detach")


def _until_all_answer(
    engine: Engine, http: httpx.Client, urls: tuple[str, ...], start: Callable[[], None]
) -> float:
    def answers(url: str) -> bool:
        try:
            return http.get(url).status_code == HTTPStatus.OK
        except httpx.HTTPError:
            return False

    def all_answer() -> bool:
        return engine.inside(lambda: all(answers(url) for url in urls))

    began = time.monotonic()
    start()
    if not eventually(all_answer, UP_SECONDS):
        raise RuntimeError(f"{urls} do not answer")
    return time.monotonic() - began
