"""A published plugin beside MLflow: locked with everything else, loaded by the server, at work."""

import json
import subprocess
from collections.abc import Iterator

import pytest
from alone import Alone, a_server
from servers import OWNER, all_files

from kits import eventually, free_port
from trackstack import lock

PLUGIN = "mlflow-jfrog-plugin"
"""Brings artifacts under addresses artifactory://…, which MLflow alone knows nothing of."""
ADDRESS = "artifactory://127.0.0.1:1/artifactory/repository"
INSTALLED = (
    "import json; from importlib.metadata import distributions, entry_points\n"
    "found = {each.name.lower().replace('_', '-'): each.version for each in distributions()}\n"
    "points = entry_points(group='mlflow.artifact_repository')\n"
    "print(json.dumps([found, {point.name: point.value for point in points}]))"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    with a_server(tmp_path_factory.mktemp("plugins")) as made:
        made.up("--extra-package", PLUGIN)
        yield made


def test_the_plugin_is_locked_with_mlflow_and_installed_as_locked(server: Alone) -> None:
    record = json.loads((server.folder() / "record.json").read_text())
    locked = lock.versions(record["plan"]["packages"])
    (folder,) = (server.machine() / "packages").iterdir()
    python = folder / "bin" / "python"
    done = subprocess.run([python, "-c", INSTALLED], capture_output=True, text=True, check=True)
    found, points = json.loads(done.stdout)
    # Several versions where Pythons or platforms differ.
    unlocked = {n: v for n, v in found.items() if v not in locked.get(n, "").split(" or ")}
    assert unlocked == {}
    assert {"mlflow", PLUGIN} <= set(found)
    assert points["artifactory"] == "plugin.artifactory_repository:JFrogArtifactoryRepository"


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


def test_the_same_command_again_changes_nothing(server: Alone) -> None:
    planned = server.json("plan", "local", "--extra-package", PLUGIN)
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
