"""Served models, on a real local server: with real packages, nginx, walls and clients."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from servers import Server, kill_all_in

import pythons
from asking import ROWS, under_load
from kits import Kit, eventually, free_port, seed_packages, variables_of, words_of
from trackstack.agent.models import bubblewrap
from trackstack.agent.processes import SERVICE
from trackstack.desired import ObservedModels

SCRIPT = Path(__file__).parent / "modelling.py"
THERE_SECONDS = 180
"""For a model's server, on a computer that does much else."""


with_walls = pytest.mark.skipif(
    not bubblewrap.there(), reason="bubblewrap is not installed, or may not be used"
)


class Serving(Server):
    """A server, and what the tests ask of its models."""

    def log(self, *wanted: list[object]) -> list[str]:
        """Log models as a client, each by its kind; returns their URIs."""
        folder = self.home.parent / "client"
        folder.mkdir(exist_ok=True)
        done = self.client("python", SCRIPT, json.dumps(wanted), folder=folder)
        line = next(line for line in done.stdout.splitlines() if line.startswith("logged "))
        told = json.loads(line.removeprefix("logged "))
        assert isinstance(told, list)
        return told

    def serve(self, *arguments: str, ok: bool = True) -> "subprocess.CompletedProcess[str]":
        return self.run("models", "serve", *arguments, ok=ok)

    def listed(self) -> dict[str, Any]:
        told = self.json("models", "list")["models"]
        assert isinstance(told, dict)
        return told

    def observed(self) -> dict[str, Any]:
        """What the command would list, by the document that it reads: for who looks often."""
        told: dict[str, Any] = json.loads(
            (self.folder() / "control" / ObservedModels.KEY).read_bytes()
        )["models"]
        return told

    @cached_property
    def password(self) -> str:
        """The owner's, which no test changes."""
        return self.owner_password()

    def http(self) -> httpx.Client:
        login = ("olga", self.password)
        return httpx.Client(base_url=self.url, auth=login, trust_env=False, timeout=60)

    def ask(self, name: str, body: object = ROWS) -> httpx.Response:
        with self.http() as client:
            return client.post(f"/serve/{name}/invocations", json=body)

    def predictions(self, name: str, body: object = ROWS) -> Any:
        answer = self.ask(name, body)
        assert answer.status_code == 200, f"{name}: {answer.status_code} {answer.text}"
        return answer.json()["predictions"]

    def model_processes(self, name: str) -> list[psutil.Process]:
        """The processes of a model's servers, the first one first."""
        found = [
            each
            for each in self.processes()
            if variables_of(each).get(SERVICE, "").startswith(f"model-{name}.")
        ]
        return sorted(found, key=lambda each: each.pid)


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server with the models that the tests share: 'steady' has versions 1 and 2."""
    base = tmp_path_factory.mktemp("serving")
    port = free_port()
    server = Serving(base / "home", port, base / "account")
    server.machine().mkdir(parents=True)
    seed_packages(server.machine())
    where = ("--port", str(port), "--workers", "1", "--user", "olga")
    try:
        with pythons.offered("127.0.0.1") as offer:
            server.run("deploy", "local", *where, **{pythons.VARIABLE: offer})
            server.log(["linear", "steady", 2, "champion"], ["linear", "steady", 3])
            yield server
            server.run("destroy", "--yes")
        left = server.processes()
        assert not left, f"after destroy these run on: {left}"
    finally:
        kill_all_in(base)
        subprocess.run(["rm", "-rf", base], check=True)


@pytest.fixture(scope="module")
def steady(serving: Serving) -> Serving:
    """With 'steady' served by its alias, which is at version 1 in the beginning of a test."""
    serving.serve("models:/steady@champion", "--allow-model-code", "--yes")
    return serving


def move_alias(server: Serving, name: str, alias: str, version: str) -> None:
    with server.api("olga", server.password) as api:
        body = {"name": name, "alias": alias, "version": version}
        api.post("registered-models/alias", json=body).raise_for_status()


def at_version(server: Serving, name: str, version: str) -> bool:
    told = server.observed()[name]
    return told["version"] == version and told["state"] == "serving"


def test_serving_is_off_until_somebody_agrees_to_run_models_code(kit: Kit) -> None:
    kit.deploy("--workers", "1")
    refused = kit.run("models", "serve", "models:/steady@champion", ok=False)
    assert refused.returncode == 2
    assert "--allow-model-code" in refused.stderr
    unasked = kit.run("models", "serve", "models:/x@y", "--allow-model-code", ok=False)
    assert unasked.returncode == 2, "without a terminal and --yes it was agreed"
    assert "CHANGE of environment 'local'" in unasked.stderr
    assert "runs code on this computer" in unasked.stderr
    assert not (kit.folder() / "control/desired/models.json").exists()
    assert not (kit.machine() / "services/models.conf").exists()
    kit.run("destroy", "--yes")


def test_a_model_answers_the_users_and_nobody_else(steady: Serving) -> None:
    assert steady.predictions("steady") == pytest.approx([2, 10])
    with steady.http() as client:
        csv = client.post(
            "/serve/steady/invocations",
            content="a,b\n1,0\n5,1\n",
            headers={"Content-Type": "text/csv"},
        )
        assert csv.json()["predictions"] == pytest.approx([2, 10])
        assert client.get("/serve/steady/ping").status_code == 200
        assert client.get("/serve/nobody/ping").status_code == 404
    for path in ("/serve/steady/ping", "/serve/nobody/ping"):
        assert httpx.get(f"{steady.url}{path}", trust_env=False).status_code == 401, path
    stranger = httpx.post(f"{steady.url}/serve/steady/invocations", json=ROWS, trust_env=False)
    assert stranger.status_code == 401


def test_what_was_agreed_to_and_by_whom_is_in_the_audit_folder(steady: Serving) -> None:
    entries = list((steady.folder() / "control/audit").glob("*/models-*.json"))
    told = [json.loads(entry.read_bytes())["what"] for entry in sorted(entries)]
    assert told[0] == "serve steady: models:/steady@champion and allow model code"


def test_the_list_says_how_a_model_does(steady: Serving) -> None:
    before = steady.listed()["steady"]["requests"]
    for _ in range(3):
        steady.predictions("steady")
    assert eventually(lambda: steady.observed()["steady"]["requests"] >= before + 3, 15)
    told = steady.listed()["steady"]
    assert told["healthy"] is True
    assert 0 < told["p50_ms"] < 1000
    assert 50 << 20 < told["memory_bytes"] < 2048 << 20
    header, row = steady.run("models", "list").stdout.splitlines()[:2]
    assert header.split() == [
        *("name", "version", "state", "healthy"),
        *("requests", "p50", "memory", "from"),
    ]
    assert row.split()[:4] == ["steady", "1", "serving", "yes"]


def test_a_moved_alias_is_followed_without_a_failed_request(steady: Serving) -> None:
    with under_load(steady.http, "steady", 4) as seen:
        for version in ("2", "1"):
            move_alias(steady, "steady", "champion", version)
            assert eventually(lambda v=version: at_version(steady, "steady", v), THERE_SECONDS), (
                f"version {version} was not taken up: {steady.listed()}"
            )
    failed = {told: count for told, count in seen.items() if not told.startswith("200")}
    assert not failed, f"of {seen.total()} requests failed: {failed}"
    assert sum("3.0" in told or "2.9999" in told for told in seen), f"never version 2: {seen}"


def test_a_version_that_cannot_be_loaded_leaves_the_old_one_where_it_is(steady: Serving) -> None:
    (broken,) = steady.log(["broken", "steady", "champion"])
    try:
        assert eventually(lambda: steady.observed()["steady"]["state"] == "failed", THERE_SECONDS)
        told = steady.listed()["steady"]
        assert "the weights are not what they were" in told["reason"]
        assert told["version"] == "1"
        assert told["healthy"] is True
        assert steady.predictions("steady") == pytest.approx([2, 10])
        assert "the weights are not" in steady.run("models", "list").stdout
        proven = steady.run("verify", "--model", "steady")
        assert "steady answers as its own code does: version 1" in proven.stderr
        refused = steady.serve(broken, "--as", "ruin", ok=False)
        assert refused.returncode == 3
        assert "the weights are not what they were" in refused.stderr
    finally:
        move_alias(steady, "steady", "champion", "1")
        steady.run("models", "stop", "ruin", ok=False)
    assert eventually(lambda: at_version(steady, "steady", "1"), THERE_SECONDS)


def test_two_models_with_conflicting_packages_answer_side_by_side(steady: Serving) -> None:
    older, newer = steady.log(["versions", "older", "0.12.1"], ["versions", "newer", "1.0.0"])
    steady.serve(older)
    steady.serve(newer)
    asked = {"inputs": [1]}
    assert steady.predictions("older", asked) == ["0.12.1"]
    assert steady.predictions("newer", asked) == ["1.0.0"]
    steady.run("models", "stop", "older")
    assert steady.ask("older", asked).status_code == 404
    assert not steady.model_processes("older"), "its processes run on"
    assert steady.predictions("newer", asked) == ["1.0.0"]
    steady.run("models", "stop", "newer")


def test_a_python_that_is_not_here_is_fetched(steady: Serving) -> None:
    (uri,) = steady.log(["of_python", pythons.VERSION])
    steady.serve(uri, "--as", "other")
    assert steady.predictions("other") == [pythons.VERSION, pythons.VERSION]
    steady.run("verify", "--model", "other")
    steady.run("models", "stop", "other")


def test_a_killed_model_is_back(steady: Serving) -> None:
    killed = steady.model_processes("steady")[-1]
    killed.kill()
    psutil.wait_procs([killed], timeout=10)
    assert eventually(lambda: steady.ask("steady").status_code == 200, THERE_SECONDS), (
        steady.listed()
    )
    killed = steady.model_processes("steady")[0]
    children = killed.children(recursive=True)
    killed.kill()
    _, alive = psutil.wait_procs([killed, *children], timeout=10)
    assert not alive, "what ran within the walls outlived them"
    assert eventually(lambda: steady.ask("steady").status_code == 200, THERE_SECONDS), (
        steady.listed()
    )


def test_models_outlive_their_keeper_and_come_back_with_the_machine(steady: Serving) -> None:
    (keeper,) = [
        process
        for process in steady.processes()
        if words_of(process)[1:] == ["-P", "-m", "trackstack.agent.models"]
    ]
    with under_load(steady.http, "steady", 1) as seen:
        keeper.kill()
        psutil.wait_procs([keeper], timeout=10)
        assert eventually(lambda: at_version(steady, "steady", "1"), THERE_SECONDS)
    assert all(told.startswith("200") for told in seen), seen
    log = steady.machine() / "logs/supervisor.log"
    before = len(log.read_text())
    began = time.monotonic()
    steady.run("destroy", "--yes")
    assert time.monotonic() - began < 90, "models hold up the machine's end"
    # Whoever does not end by itself is killed after half a minute, of which supervisor tells.
    held_up = [line for line in log.read_text()[before:].splitlines() if "SIGKILL" in line]
    assert not [line for line in held_up if "model" in line]
    assert not steady.processes(), "processes of a model are left"
    steady.run("deploy", "local")
    assert eventually(lambda: steady.ask("steady").status_code == 200, THERE_SECONDS), (
        steady.listed()
    )


def test_limits_hold(steady: Serving) -> None:
    (greedy,) = steady.log(["greedy", "greedy"])
    steady.serve(greedy, "--memory", "600", "--request", "1")
    table = {"dataframe_split": {"columns": ["mb"], "data": [[1]]}}
    assert steady.predictions("greedy", table) == [1]
    with steady.http() as client:
        address = "/serve/greedy/invocations"
        large = client.post(address, content=b" " * (2 << 20))
        assert large.status_code == 413
        largest = client.post(address, content=b" " * (65 << 20))
        assert largest.status_code == 413
        table["dataframe_split"]["data"] = [[20_000]]
        taken = client.post(address, json=table)
        assert taken.status_code != 200, "it took 20 GB"
    table["dataframe_split"]["data"] = [[1]]
    assert eventually(lambda: steady.ask("greedy", table).status_code == 200, THERE_SECONDS), (
        steady.listed()
    )
    steady.run("models", "stop", "greedy")


def test_what_cannot_be_is_refused_before_anything_changes(steady: Serving) -> None:
    before = (steady.folder() / "control/desired/models.json").read_bytes()
    for uri, told in (
        ("models:/steady/99", "no model 'steady' with a version 99"),
        ("models:/steady@nobody", "no model 'steady' with the alias 'nobody'"),
        ("models:/nothing/Production", "in the stage 'Production'"),
        (f"runs:/{'0' * 32}/model", "no run"),
        ("models:/steady", "is not the URI of a model"),
        ("models:/../../etc/passwd", "is not the URI of a model"),
    ):
        refused = steady.serve(uri, "--as", "x", ok=False)
        assert refused.returncode == 2, f"{uri}: {refused.stderr}"
        assert told in refused.stderr, uri
    assert steady.serve("models:/steady/1", "--as", "Not Good", ok=False).returncode == 2
    assert steady.run("models", "stop", "stedy", ok=False).returncode == 2
    assert (steady.folder() / "control/desired/models.json").read_bytes() == before


def test_a_package_that_is_not_there_is_named(steady: Serving) -> None:
    (absent,) = steady.log(["absent", "absent"])
    refused = steady.serve(absent, ok=False)
    assert refused.returncode == 3
    assert "toolz==99.99" in refused.stderr
    steady.run("models", "stop", "absent")


def test_verify_compares_a_models_answer_with_its_own_codes(steady: Serving) -> None:
    proven = steady.run("verify", "--model", "steady")
    assert "steady answers as its own code does: version 1" in proven.stderr
    assert steady.run("verify", "--model", "stedy", ok=False).returncode == 2


def test_where_there_are_no_walls_it_is_said_before_and_after(serving: Serving) -> None:
    """A bwrap that may not be used, as where the kernel lets nobody have namespaces."""
    base = serving.home.parent / "no-walls"
    programs = base / "programs"
    programs.mkdir(parents=True)
    (programs / "bwrap").write_text("#!/bin/sh\nexit 1\n")
    (programs / "bwrap").chmod(0o700)
    path = {"PATH": f"{programs}:{os.environ['PATH']}"}
    other = Serving(base / "home", free_port(), base / "account")
    other.machine().mkdir(parents=True)
    seed_packages(other.machine())
    where = ("--port", str(other.port), "--workers", "1", "--user", "olga")
    other.run("deploy", "local", *where, **path)
    (uri,) = other.log(["linear", "steady", 2])
    agreed = other.run("models", "serve", uri, "--allow-model-code", "--yes", **path)
    assert "There are no walls around models" in agreed.stderr
    assert other.predictions("steady") == pytest.approx([2, 10])
    assert "There are no walls around models" in other.run("models", "list").stdout
    assert "TRACKSTACK_STORE" not in other.model_processes("steady")[0].environ()
    other.run("destroy", "--yes")
    assert not other.processes(), "processes of a model are left"


def secrets_of(server: Server) -> list[Path]:
    """Files that no model has any business with; each is there."""
    at_home = Path(server.environment["HOME"]) / "secret"
    at_home.write_text("nobody's business")
    machine, folder = server.machine(), server.folder()
    files = [
        *(at_home, folder / "credentials.json", folder / "control/desired/users.json"),
        *(machine / "data/mlflow.db", machine / "data/secrets.env", machine / "users/olga/current"),
    ]
    assert all(file.is_file() for file in files)
    return files


@pytest.mark.skipif(
    not bubblewrap.there(), reason="bubblewrap is not installed, or may not be used"
)
def test_a_hostile_model_reaches_nothing(steady: Serving) -> None:
    machine = steady.machine()
    version = next((machine / "models/files").iterdir())
    (nosy,) = steady.log(["nosy", "nosy"])
    steady.serve(nosy)
    written = next(
        (machine / "models/environments").glob("*/lib/python*/site-packages/cloudpickle")
    )
    (mlflow,) = (machine / "run").glob("mlflow-*.sock")
    (other,) = (machine / "run/models").glob("model-steady.*/socket")
    places = [
        "tcp:169.254.169.254:80",
        "tcp:1.1.1.1:53",
        f"tcp:127.0.0.1:{steady.port}",
        f"unix:{mlflow}",
        f"unix:{other}",
        f"unix:{machine / 'run/supervisor.sock'}",
        *(f"read:{place}" for place in secrets_of(steady)),
        f"read:{version / 'MLmodel'}",
        "read:/etc/passwd",
        "write:/usr/lib/mine",
        f"write:{written / 'mine'}",
    ]
    table = {"dataframe_split": {"columns": ["asked"], "data": [[json.dumps(places)]]}}
    told = json.loads(steady.predictions("nosy", table)[0])
    seen = {place: told[place] for place in places if not told[place].startswith("refused")}
    assert not seen
    assert "MLFLOW_TRACKING" not in told["environment"]
    assert told["processes"] < 10, "it sees the processes of this computer"
    steady.run("models", "stop", "nosy")


@pytest.mark.skipif(
    not bubblewrap.there(), reason="bubblewrap is not installed, or may not be used"
)
def test_a_hostile_setup_py_reaches_nothing_and_holds_nobody_up(steady: Serving) -> None:
    machine = steady.machine()
    (mlflow,) = (machine / "packages").glob("*/lib/python*/site-packages/mlflow/version.py")
    places = [
        "tcp:169.254.169.254:80",
        "tcp:1.1.1.1:53",
        f"tcp:127.0.0.1:{steady.port}",
        f"http://127.0.0.1:{steady.port}/livez",
        f"http://localhost:{steady.port}/livez",
        "http://169.254.169.254/latest/meta-data/",
        *(f"read:{place}" for place in secrets_of(steady)),
        f"write:{mlflow}",
        "write:/usr/lib/mine",
    ]
    proof = Path(steady.environment["HOME"]) / "started"
    (built,) = steady.log(["built", json.dumps(places), 16, str(proof)])
    with steady.start("models", "serve", built, "--as", "built") as serving:
        building = eventually(
            lambda: steady.observed().get("built", {}).get("doing") is not None, THERE_SECONDS
        )
        assert building, steady.listed()
        began = time.monotonic()
        steady.run("users", "add", "held-up", "--show-passwords")
        steady.run("users", "remove", "held-up")
        took = time.monotonic() - began
        assert steady.listed()["built"]["version"] is None, "it was built before anybody could wait"
        told = serving.communicate(timeout=300)
    assert serving.returncode == 0, told
    assert took < 12, f"two changes of users took {took:.1f} s while packages were built"
    got = json.loads(steady.predictions("built", {"inputs": [1]})[0])
    seen = {place: got[place] for place in places if not got[place].startswith("refused")}
    assert not seen
    assert not proof.exists(), "a Python was started outside the walls, with the packages"
    steady.run("models", "stop", "built")


def test_the_last_model_takes_the_service_along(steady: Serving) -> None:
    steady.run("models", "stop", "steady")
    assert steady.listed() == {}
    assert steady.ask("steady").status_code == 404
    with steady.api("olga", steady.password) as api:
        assert api.post("experiments/search", json={"max_results": 1}).status_code == 200
    left = [p for p in steady.processes() if "trackstack.agent.models" in words_of(p)]
    assert not psutil.wait_procs(left, timeout=10)[1]
    steady.serve("models:/steady@champion")
