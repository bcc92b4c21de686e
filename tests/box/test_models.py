"""Served models on a machine in a cloud: each a unit and a user of its own, behind nginx."""

import json
import shlex
from pathlib import Path
from typing import Any

import httpx
import pytest

import pythons
from asking import ROWS, under_load
from box.deployed import NAME, USER, Box
from box.one_cloud import on_aws
from kits import eventually
from trackstack.agent.systemd import unit

pytestmark = on_aws

MODELLING = Path(__file__).parents[1] / "e2e" / "modelling.py"
MACHINE = "/var/lib/trackstack/machine"


class Serving:
    """A box, and what the tests ask of its models."""

    def __init__(self, box: Box) -> None:
        self.box = box

    def log(self, *wanted: list[object]) -> list[str]:
        """Log models, each by its kind, with the machine's own Python and MLflow's client."""
        box = self.box
        folder = "/root/client"
        box.guest.run(f"mkdir -p {folder}")
        for name, text in (
            ("modelling.py", MODELLING.read_text()),
            ("ca.pem", (box.laptop.folder(NAME) / "ca.pem").read_text()),
        ):
            box.guest.run(f"printf %s {shlex.quote(text)} >{folder}/{name}")
        variables = {
            "MLFLOW_TRACKING_URI": box.url,
            "MLFLOW_TRACKING_USERNAME": USER,
            "MLFLOW_TRACKING_PASSWORD": box.password(),
            "MLFLOW_TRACKING_SERVER_CERT_PATH": f"{folder}/ca.pem",
            "HOME": folder,
        }
        settings = " ".join(f"{name}={shlex.quote(to)}" for name, to in variables.items())
        python = f"$(echo {MACHINE}/packages/*/bin/python)"
        asked = shlex.quote(json.dumps(wanted))
        said = box.guest.run(f"cd {folder}; env {settings} {python} modelling.py {asked}")
        line = next(line for line in said.splitlines() if line.startswith("logged "))
        told = json.loads(line.removeprefix("logged "))
        assert isinstance(told, list)
        return told

    def models(self, *words: str, ok: bool = True) -> str:
        """`trackstack models`; what was said."""
        done = self.box.laptop.run("models", *words, "-e", NAME, ok=False, timeout=600)
        said = f"{done.stdout}\n{done.stderr}"
        assert (done.returncode == 0) is ok, f"{said}\n{self.logs()}"
        return said

    def listed(self) -> dict[str, Any]:
        told = json.loads(self.box.laptop.run("models", "list", "-e", NAME, "--json").stdout)
        models: dict[str, Any] = told["models"]
        return models

    def ask(self, name: str, body: object = ROWS) -> httpx.Response:
        with self.box.client() as client:
            return client.post(f"/serve/{name}/invocations", json=body)

    def predictions(self, name: str, body: object = ROWS) -> Any:
        answer = self.ask(name, body)
        assert answer.status_code == 200, f"{name}: {answer.status_code} {answer.text}"
        return answer.json()["predictions"]

    def knows(self, name: str) -> bool:
        """Whether MLflow has a model of that name."""
        with self.box.client() as client:
            return client.get(f"/api/2.0/mlflow/registered-models/get?name={name}").is_success

    def move(self, name: str, version: str) -> None:
        with self.box.client() as client:
            body = {"name": name, "alias": "champion", "version": version}
            client.post("/api/2.0/mlflow/registered-models/alias", json=body).raise_for_status()

    def logs(self) -> str:
        told = f"tail -n 30 {MACHINE}/logs/agent.log {MACHINE}/logs/model*.log"
        units = "journalctl -q -n 60 -o cat -u 'trackstack-model*'"
        return self.box.guest.attempt(f"{told}; {units}").stdout

    def main_pid(self, name: str) -> str:
        (served,) = self.box.guest.run(f"readlink {MACHINE}/run/served/{name}").split()
        asked = f"systemctl show --value -p MainPID {unit(Path(served).name)}"
        return self.box.guest.run(asked).strip()


@pytest.fixture
def serving(deployed: Box) -> Serving:
    """With 'steady' served by its alias, which is at version 1 of two."""
    made = Serving(deployed)
    if not made.listed():
        if not made.knows("steady"):  # else an earlier test has stopped it
            made.log(["linear", "steady", 2, "champion"], ["linear", "steady", 3])
        made.move("steady", "1")
        made.models("serve", "models:/steady@champion", "--allow-model-code", "--yes")
    return made


def at_version(serving: Serving, name: str, version: str) -> bool:
    told = serving.listed()[name]
    return told["version"] == version and told["state"] == "serving"


def test_a_model_answers_the_users_and_nobody_else(serving: Serving) -> None:
    assert serving.predictions("steady") == pytest.approx([2, 10])
    stranger = httpx.post(
        f"{serving.box.url}/serve/steady/invocations",
        json=ROWS,
        verify=serving.box.trusts(),
        trust_env=False,
    )
    assert stranger.status_code == 401
    told = serving.listed()["steady"]
    assert told["healthy"] is True
    assert 50 << 20 < told["memory_bytes"] < 2048 << 20


def test_its_answer_is_compared_with_its_own_codes(serving: Serving) -> None:
    done = serving.box.laptop.run("verify", "--model", "steady", "-e", NAME, timeout=300)
    assert "steady answers as its own code does: version 1: " in done.stderr


def test_a_python_that_is_not_there_is_fetched(serving: Serving) -> None:
    guest = serving.box.guest
    with pythons.offered(serving.box.world.network.laptop) as offer:
        settings = f'python-downloads-json-url = "{offer}"'
        guest.run(f"mkdir -p /etc/uv && echo {shlex.quote(settings)} >/etc/uv/uv.toml")
        (uri,) = serving.log(["of_python", pythons.VERSION])
        serving.models("serve", uri, "--as", "other")
        assert serving.predictions("other") == [pythons.VERSION, pythons.VERSION]
        serving.models("stop", "other")
    guest.run("rm -r /etc/uv")


def test_a_moved_alias_is_followed_without_a_failed_request(serving: Serving) -> None:
    with under_load(serving.box.client, "steady", 2) as seen:
        for version in ("2", "1"):
            serving.move("steady", version)
            assert eventually(lambda v=version: at_version(serving, "steady", v), 120), (
                f"version {version} was not taken up: {serving.listed()}\n{serving.logs()}"
            )
    failed = {told: count for told, count in seen.items() if not told.startswith("200")}
    assert not failed, f"of {seen.total()} requests failed: {failed}"
    assert sum("3.0" in told or "2.9999" in told for told in seen), f"never version 2: {seen}"


def test_a_killed_model_is_back_and_so_it_is_after_a_restart_of_the_machine(
    serving: Serving,
) -> None:
    killed = serving.main_pid("steady")
    serving.box.guest.run(f"kill -9 {killed}")
    assert eventually(lambda: serving.ask("steady").status_code == 200, 60), serving.logs()
    assert serving.main_pid("steady") != killed
    serving.box.guest.run("systemctl reboot")
    assert eventually(lambda: not serving.box.serves(), 60), "it does not restart"
    assert eventually(serving.box.serves, 240), serving.box.console()
    assert eventually(lambda: serving.ask("steady").status_code == 200, 120), serving.logs()


def test_a_hostile_model_and_its_setup_py_reach_nothing(serving: Serving) -> None:
    guest = serving.box.guest
    (other,) = guest.run(f"cd {MACHINE}/run/models; echo model-steady.*/socket").split()
    (mlflow,) = guest.run(f"echo {MACHINE}/run/mlflow-*.sock").split()
    files = guest.run(f"echo {MACHINE}/models/files/*/MLmodel").split()
    package = guest.run(f"echo {MACHINE}/models/environments/*/pyvenv.cfg").split()
    secrets = [
        f"{MACHINE}/data/secrets.env",
        f"{MACHINE}/data/mlflow.db",
        f"{MACHINE}/users/{USER}/current",
        f"{MACHINE}/logs/nginx.jsonl",
        "/etc/shadow",
        "/etc/trackstack/machine.json",
        *(*files, *package),
    ]
    sockets = [
        f"{MACHINE}/run/models/{other}",
        *(mlflow, f"{MACHINE}/run/nginx.sock", "/run/dbus/system_bus_socket"),
        *("/run/systemd/private", "/run/systemd/resolve/io.systemd.Resolve"),
    ]
    there = [*(f"test -s {each}" for each in secrets), *(f"test -S {each}" for each in sockets)]
    for seen in there:
        guest.run(seen)
    shared = [
        "tcp:169.254.169.254:80",
        "tcp:1.1.1.1:53",
        "tcp:127.0.0.1:443",
        *(f"read:{place}" for place in secrets),
        "write:/usr/lib/mine",
        f"write:{MACHINE}/run/served/mine",
        "write:/var/lib/trackstack/files/MLmodel",
        "write:/var/lib/trackstack/environment/pyvenv.cfg",
    ]
    built = [*shared, "http://169.254.169.254/latest/meta-data/"]
    proof = f"{MACHINE}/data/started"
    nosy, evil = serving.log(["nosy", "nosy"], ["built", json.dumps(built), 0, proof])
    serving.models("serve", nosy)
    serving.models("serve", evil, "--as", "built")
    places = [*shared, *(f"unix:{each}" for each in sockets)]
    table = {"dataframe_split": {"columns": ["asked"], "data": [[json.dumps(places)]]}}
    told = json.loads(serving.predictions("nosy", table)[0])
    seen = {place: told[place] for place in places if not told[place].startswith("refused")}
    assert not seen, "a model's code reached something"
    assert "MLFLOW_TRACKING" not in told["environment"]
    assert told["processes"] < 10, "it sees the processes of the machine"
    told = json.loads(serving.predictions("built", {"inputs": [1]})[0])
    seen = {place: told[place] for place in built if not told[place].startswith("refused")}
    assert not seen, "a setup.py reached something"
    outside = "a Python was started outside the walls, with the packages"
    assert guest.attempt(f"test -e {proof}").returncode == 1, outside
    users = guest.run("systemctl show --value -p User 'trackstack-model@*.service'").split()
    pids = guest.run("systemctl show --value -p MainPID 'trackstack-model@*.service'").split()
    owners = {guest.run(f"stat -c %u /proc/{pid}").strip() for pid in pids}
    assert len(owners) == len(pids) == 3, f"not a user for each: {users}"
    serving.models("stop", "nosy")
    serving.models("stop", "built")
    left = guest.run("systemctl list-units --all --plain --no-legend 'trackstack-model@*'")
    assert left.count("trackstack-model@") == 1, left
    assert len(guest.run(f"ls {MACHINE}/models/walled").split()) == 1


def test_the_last_model_takes_the_service_along(serving: Serving) -> None:
    serving.models("stop", "steady")
    assert serving.ask("steady").status_code == 404
    assert serving.box.serves()
    gone = "systemctl is-active trackstack-models.service"
    assert eventually(lambda: serving.box.guest.attempt(gone).stdout.strip() == "inactive", 20)
