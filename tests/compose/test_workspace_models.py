"""Served models in a workspace: in a container of their own."""

import json
import shlex
from pathlib import Path
from typing import Any

import httpx
import pytest

from asking import ROWS
from compose.workspace import OWNER, Workspace
from kits import eventually
from trackstack.tracking import http_client

MODELLING = Path(__file__).parents[1] / "e2e" / "modelling.py"
MACHINE = "/var/lib/trackstack"


class Serving:
    """A workspace, and what the tests ask of its models."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def log(self, *wanted: list[object]) -> list[str]:
        """Log models in JupyterLab's container, each by its kind."""
        place = "/home/jupyter/modelling.py"
        put = f"printf %s {shlex.quote(MODELLING.read_text())} >{place}"
        run = f"/opt/trackstack/jupyter/bin/python {place} {shlex.quote(json.dumps(wanted))}"
        done = self.workspace.inside("jupyter", "sh", "-c", f"{put}; cd; {run}")
        lines = done.stdout.splitlines()
        line = next((line for line in lines if line.startswith("logged ")), None)
        assert line is not None, f"{done.stdout}\n{done.stderr}"
        told = json.loads(line.removeprefix("logged "))
        assert isinstance(told, list)
        return told

    def serve(self, *words: str) -> str:
        """`trackstack models serve`; what was said."""
        done = self.workspace.run("models", "serve", *words, ok=False, timeout=300)
        said = f"{done.stdout}\n{done.stderr}"
        logs = self.workspace.inside("tracking", "sh", "-c", f"tail -n 40 {MACHINE}/logs/model*")
        assert done.returncode == 0, f"{said}\n{logs.stdout}"
        return said

    def listed(self) -> Any:
        return self.workspace.json("models", "list")["models"]

    def client(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        """Status and body of what a user is answered."""
        login = (OWNER, self.password)

        def go() -> tuple[int, str]:
            with http_client(self.workspace.url, self.workspace.authorities, login) as client:
                answer: httpx.Response = client.request(method, path, json=body, timeout=60)
                return answer.status_code, answer.text

        return self.workspace.engine.inside(go)

    def ask(self, name: str, body: object = ROWS) -> tuple[int, str]:
        return self.client("POST", f"/serve/{name}/invocations", body)

    def knows(self, name: str) -> bool:
        """Whether MLflow has a model of that name."""
        return self.client("GET", f"/api/2.0/mlflow/registered-models/get?name={name}")[0] == 200

    def move(self, name: str, version: str) -> None:
        body = {"name": name, "alias": "champion", "version": version}
        status, text = self.client("POST", "/api/2.0/mlflow/registered-models/alias", body)
        assert status == 200, text

    def predictions(self, name: str, body: object = ROWS) -> Any:
        status, text = self.ask(name, body)
        assert status == 200, f"{name}: {status} {text}"
        return json.loads(text)["predictions"]

    @property
    def password(self) -> str:
        kept = self.workspace.folder("compose") / "credentials.json"
        return str(json.loads(kept.read_text())[OWNER])


@pytest.fixture
def serving(workspace: Workspace) -> Serving:
    """With 'steady' served by its alias."""
    made = Serving(workspace)
    if not made.listed():
        if not made.knows("steady"):  # else an earlier test has stopped it
            made.log(["linear", "steady", 2, "champion"], ["linear", "steady", 3])
        made.move("steady", "1")
        said = made.serve("models:/steady@champion", "--allow-model-code", "--yes")
        assert "They are not shut off from each other, nor" in said
    return made


def test_a_model_answers_and_its_answer_is_its_own_codes(serving: Serving) -> None:
    assert serving.predictions("steady") == pytest.approx([2, 10])
    told = serving.listed()["steady"]
    assert told["healthy"] is True
    assert eventually(lambda: (serving.listed()["steady"]["memory_bytes"] or 0) > 50 << 20, 15)
    proven = serving.workspace.run("verify", "--model", "steady", timeout=300)
    assert "steady answers as its own code does: version 1" in proven.stderr
    said = serving.workspace.run("models", "logs", "steady").stdout
    assert "Application startup complete" in said


def test_a_moved_alias_is_followed(serving: Serving) -> None:
    def at(version: str) -> bool:
        told = serving.listed()["steady"]
        return bool(told["version"] == version and told["state"] == "serving")

    for version, first in (("2", 3), ("1", 2)):
        serving.move("steady", version)
        assert eventually(lambda v=version: at(v), 90), serving.listed()
        assert serving.predictions("steady")[0] == pytest.approx(first)


def test_models_are_back_when_their_server_or_a_container_was_killed(serving: Serving) -> None:
    def answers() -> bool:
        try:
            return serving.ask("steady")[0] == 200
        except httpx.TransportError:
            return False

    find = "grep -ls '[u]vicorn' /proc/[0-9]*/cmdline | cut -d/ -f3"
    (server,) = serving.workspace.inside("models", "sh", "-c", find).stdout.split()
    serving.workspace.inside("models", "sh", "-c", f"kill -9 {server}")
    assert eventually(
        lambda: server not in serving.workspace.inside("models", "sh", "-c", find).stdout.split(),
        10,
    )
    assert eventually(answers, 90), serving.listed()
    for service in ("models", "tracking"):
        serving.workspace.kill(service)
        assert eventually(lambda s=service: s in serving.workspace.containers(), 60)
        assert eventually(answers, 120), f"{service}: {serving.listed()}"


def test_a_hostile_model_and_its_setup_py_reach_nothing_but_other_models(
    serving: Serving,
) -> None:
    workspace = serving.workspace
    (mlflow,) = workspace.inside(
        "tracking", "sh", "-c", f"echo {MACHINE}/run/mlflow-*.sock"
    ).stdout.split()
    names = ["tcp:tracking:" + str(workspace.port), "tcp:postgres:5432", "tcp:sftp:2222"]
    shared = [
        *names,
        "tcp:169.254.169.254:80",
        "tcp:1.1.1.1:53",
        f"tcp:127.0.0.1:{workspace.port}",
        f"read:{MACHINE}/data/secrets.env",
        f"read:{MACHINE}/data/stores.env",
        "read:/control/desired/users.json",
        "read:/run/secrets/pgpass",
        "write:/usr/lib/mine",
        f"write:{MACHINE}/models/mine",
    ]
    built = [
        *shared,
        "http://169.254.169.254/latest/meta-data/",
        f"http://127.0.0.1:{workspace.port}/livez",
        "http://jupyter:8888/api",
    ]
    proof = f"{MACHINE}/data/started"
    nosy, evil = serving.log(["nosy", "nosy"], ["built", json.dumps(built), 0, proof])
    serving.serve(nosy)
    serving.serve(evil, "--as", "built")
    places = [*shared, f"unix:{mlflow}"]
    table = {"dataframe_split": {"columns": ["asked"], "data": [[json.dumps(places)]]}}
    told = json.loads(serving.predictions("nosy", table)[0])
    stray = {"dataframe_split": {"columns": ["asked"], "data": [['["leave:86399"]']]}}
    assert json.loads(serving.predictions("nosy", stray)[0])["leave:86399"] == "left"
    find = "grep -ls '[8]6399' /proc/[0-9]*/cmdline"
    assert eventually(lambda: not workspace.inside("models", "sh", "-c", find).stdout, 30), (
        "what a model started in a session of its own runs on"
    )
    assert serving.listed()["nosy"]["healthy"] is True
    seen = {place: told[place] for place in places if not told[place].startswith("refused")}
    assert not seen, "a model's code reached something"
    assert "MLFLOW_TRACKING" not in told["environment"]
    told = json.loads(serving.predictions("built", {"inputs": [1]})[0])
    seen = {place: told[place] for place in built if not told[place].startswith("refused")}
    assert not seen, "a setup.py reached something"
    assert workspace.inside("tracking", "ls", f"{MACHINE}/data/started").returncode != 0, (
        "a Python was started outside the walls, with the packages"
    )
    for name in ("nosy", "built", "steady"):
        workspace.run("models", "stop", name)
    assert serving.listed() == {}
    running = workspace.inside("models", "sh", "-c", "ls -d /proc/[0-9]*").stdout.split()
    assert len(running) <= 5, f"of models' processes some run on: {running}"
