"""Published plugins beside MLflow: locked with everything else, loaded by the server, at work.

One brings an artifact store, one the headers of a client's requests.
"""

import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from alone import Alone, a_server
from servers import OWNER, all_files

from kits import eventually, free_port
from trackstack import lock

PLUGIN = "mlflow-jfrog-plugin"
"""Brings artifacts under addresses artifactory://…, which MLflow alone knows nothing of."""
HEADERS = "mlflow-custom-headers-plugin"
"""Has a client send what MLFLOW_CUSTOM_HEADERS says with every request."""
EXTRA = ("--extra-package", PLUGIN, "--extra-package", HEADERS)
ADDRESS = "artifactory://127.0.0.1:1/artifactory/repository"
INSTALLED = (
    "import json; from importlib.metadata import distributions, entry_points\n"
    "found = {each.name.lower().replace('_', '-'): each.version for each in distributions()}\n"
    "groups = 'mlflow.artifact_repository', 'mlflow.request_header_provider'\n"
    "points = [point.value for group in groups for point in entry_points(group=group)]\n"
    "print(json.dumps([found, points]))"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    with a_server(tmp_path_factory.mktemp("plugins")) as made:
        made.up(*EXTRA)
        yield made


def test_the_plugins_are_locked_with_mlflow_and_installed_as_locked(server: Alone) -> None:
    record = json.loads((server.folder() / "record.json").read_text())
    locked = lock.versions(record["plan"]["packages"])
    (folder,) = (server.machine() / "packages").iterdir()
    python = folder / "bin" / "python"
    done = subprocess.run([python, "-c", INSTALLED], capture_output=True, text=True, check=True)
    found, points = json.loads(done.stdout)
    # Several versions where Pythons or platforms differ.
    unlocked = {n: v for n, v in found.items() if v not in locked.get(n, "").split(" or ")}
    assert unlocked == {}
    assert {"mlflow", PLUGIN, HEADERS} <= set(found)
    assert "plugin.artifactory_repository:JFrogArtifactoryRepository" in points
    assert "mlflow_custom_headers_plugin.headers:CustomRequestHeaderProvider" in points


def test_the_server_asks_the_plugin_for_what_lies_under_its_addresses(server: Alone) -> None:
    """It says so in the server's log; then it misses a token, which nobody has given it."""
    with server.api(OWNER, server.owner_password()) as api:
        place = {"name": "elsewhere", "artifact_location": ADDRESS}
        number = api.post("experiments/create", json=place).json()["experiment_id"]
        run = api.post("runs/create", json={"experiment_id": number}).json()["run"]["info"]
        answer = api.get("artifacts/list", params={"run_id": run["run_id"]})
    assert answer.status_code == 500
    made = f"JFrog: __init__(self, artifact_uri={run['artifact_uri']}"
    assert eventually(lambda: made in server.run("logs", "mlflow").stdout)


class Artifactory(ThreadingHTTPServer):
    """Where the artifact store's own server would be, as far as the plugin asks it: files by path.

    Attributes:
        tokens: every one that was shown.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.files: dict[str, bytes] = {}
        self.tokens: set[str | None] = set()


class Answers(BaseHTTPRequestHandler):
    server: Artifactory

    def do_PUT(self) -> None:
        self.server.tokens.add(self.headers["Authorization"])
        self.server.files[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(b"", 201)

    def do_GET(self) -> None:
        path, _, question = self.path.partition("?")
        folder = path.replace("/api/storage", "")
        below = [file for file in self.server.files if file.startswith(f"{folder}/")]
        files = [{"uri": f.removeprefix(folder), "folder": False, "size": 1} for f in below]
        if folder == path:
            self.answer(self.server.files[path], 200)
        else:
            told: dict[str, Any] = (
                {"uri": path, "files": files} if question else {"children": files}
            )
            self.answer(json.dumps(told).encode(), 200)

    def answer(self, body: bytes, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep the tests' output clean."""


@pytest.fixture
def artifactory() -> Iterator[Artifactory]:
    with Artifactory() as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """It needs no packages but those of the server's lock, which are its client's."""
    (tmp_path / "log.py").write_text(
        dedent("""
            import mlflow
            with mlflow.start_run() as run:
                mlflow.log_text("Grüße", "notes.txt")
            (file,) = mlflow.artifacts.list_artifacts(run_id=run.info.run_id)
            # Told no folder to put it in: the plugin takes that for the file.
            found = mlflow.artifacts.download_artifacts(f"{run.info.artifact_uri}/{file.path}")
            print(open(found).read())
        """)
    )
    return tmp_path


def test_a_client_with_the_server_s_plugins_stores_and_finds_artifacts_through_one(
    server: Alone, artifactory: Artifactory, project: Path
) -> None:
    place = f"artifactory://127.0.0.1:{artifactory.server_port}/artifactory/models"
    with server.api(OWNER, server.owner_password()) as api:
        api.post("experiments/create", json={"name": "stored", "artifact_location": place})
    variables = {"ARTIFACTORY_AUTH_TOKEN": "a-token", "ARTIFACTORY_NO_SSL": "true"}
    words = ("--entry-point", "log.py", "--experiment-name", "stored")
    done = server.run("run", project, *words, **variables)
    assert "Grüße\n" in done.stdout
    ((path, content),) = artifactory.files.items()
    assert path.startswith("/artifactory/models/")
    assert (path.rpartition("/")[2], content.decode()) == ("notes.txt", "Grüße")
    assert artifactory.tokens == {"Bearer a-token"}


def test_a_client_s_headers_reach_mlflow(server: Alone, project: Path) -> None:
    """Of one that it knows MLflow says that this server has no such thing, with 500."""
    header = {"X-MLFLOW-WORKSPACE": "red"}
    with server.api(OWNER, server.owner_password()) as api:
        answer = api.post("runs/create", json={"experiment_id": "0"}, headers=header)
    words = ("run", project, "--entry-point", "log.py")
    variables = {
        "MLFLOW_CUSTOM_HEADERS": "X-MLFLOW-WORKSPACE:red",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    }
    done = server.run(*words, ok=False, **variables)
    assert (answer.status_code, done.returncode) == (500, 1)
    assert "workspaces are not enabled on this server" in answer.text
    assert "runs/create (Caused by ResponseError('too many 500 error" in done.stderr


def test_a_client_s_headers_make_nobody_another_user(server: Alone, project: Path) -> None:
    forged = "X-Remote-User:mallory,Authorization:Basic bWFsbG9yeTo=,X-Forwarded-For:6.6.6.6"
    words = ("run", project, "--entry-point", "log.py", "--experiment-name", "forged", "--json")
    told = json.loads(server.run(*words, MLFLOW_CUSTOM_HEADERS=forged).stdout)
    lines = [json.loads(line) for line in server.run("logs", "nginx").stdout.splitlines()]
    of_run = [line for line in lines if f"/{told['run']}/" in line["path"]]
    assert {(line["user"], line["address"]) for line in of_run} == {(OWNER, "127.0.0.1")}


def test_the_same_command_again_changes_nothing(server: Alone) -> None:
    planned = server.json("plan", "local", *EXTRA)
    assert isinstance(planned, dict)
    assert planned["changes"] == []


CONFLICTS = [
    # asked for, exit code, words of the sentence
    (["sqlalchemy<1.4"], 2, "cannot be installed together: mlflow==3.17.2, sqlalchemy<1.4."),
    ([PLUGIN, f"{PLUGIN}<0.1"], 2, f"{PLUGIN}, {PLUGIN}<0.1."),
    (["no-such-package-of-trackstack"], 2, "no-such-package-of-trackstack was not found"),
]


@pytest.mark.parametrize(("asked", "code", "told"), CONFLICTS)
def test_what_cannot_be_installed_together_is_told_before_anything_changes(
    server: Alone, asked: list[str], code: int, told: str
) -> None:
    but = ("environments/local/machine", "environments/local/control/observed", "cache")
    before = all_files(server.home, *but)
    flags = [word for each in asked for word in ("--extra-package", each)]
    done = server.run(
        "deploy", "local", "-e", "other", "--port", str(free_port()), *flags, ok=False
    )
    (sentence, *_) = done.stderr.partition("error: ")[2].splitlines()
    assert done.returncode == code
    assert told in sentence
    assert all_files(server.home, *but) == before
