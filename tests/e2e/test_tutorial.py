"""What the tutorials do with MLflow works through the login, with the real client.

The client has only what `trackstack env` printed: no other variable, no cloud credentials.
"""

import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from servers import OWNER, Server

from kits import eventually, free_port

MODEL = "tutorial"
PROJECT = Path(__file__).parents[2] / "examples" / "projects" / "decision-tree"


@pytest.fixture(scope="module")
def told(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the tutorial's program saw."""
    script = Path(__file__).with_name("tutorial.py")
    done = server.client("python", script, MODEL, folder=tmp_path_factory.mktemp("tutorial"))
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_params_come_back(told: dict[str, Any]) -> None:
    assert told["params"] == {"tree_depth": "4", "note": "größer & 'quoted'"}


def test_metrics_come_back(told: dict[str, Any]) -> None:
    assert told["losses"] == [1 / (step + 1) for step in range(5)]


def test_an_artifact_larger_than_nginx_allows_by_default_comes_back(told: dict[str, Any]) -> None:
    assert told["received"] == told["sent"]


def test_an_artifact_whose_name_is_not_ascii_comes_back(told: dict[str, Any]) -> None:
    assert told["text"] == "Grüße"


def test_artifacts_go_through_the_server_so_that_a_client_needs_no_credentials(
    told: dict[str, Any],
) -> None:
    assert told["artifact_uri"].startswith("mlflow-artifacts:/")


def test_runs_carry_the_name_of_the_login_not_of_the_account(told: dict[str, Any]) -> None:
    assert told["user"] == OWNER


def test_a_model_goes_to_staging_and_production(told: dict[str, Any]) -> None:
    assert told["stage"] == "Production"


def test_a_model_is_found_by_its_alias(told: dict[str, Any]) -> None:
    assert str(told["aliased"]) == "1"


@pytest.mark.parametrize("way", ["alias", "stage"])
def test_a_model_loaded_back_predicts_as_the_one_logged(told: dict[str, Any], way: str) -> None:
    assert told[f"predicted_by_{way}"] == pytest.approx(told["predicted"])


@dataclass(frozen=True)
class Serving:
    """A served model: where it answers, and what it wrote."""

    url: str
    output: Path


@pytest.fixture
def serving(
    server: Server,
    told: dict[str, Any],  # noqa: ARG001  it registered the model
    tmp_path: Path,
) -> Iterator[Serving]:
    """The model of the tutorial, served from the registry by MLflow's own command."""
    port = free_port()
    command = ("python", "-m", "mlflow", "models", "serve", "-m", f"models:/{MODEL}/Production")
    process = server.start_client(
        *command, "--env-manager", "local", "-h", "127.0.0.1", "-p", str(port), folder=tmp_path
    )
    try:
        yield Serving(f"http://127.0.0.1:{port}", tmp_path / "output.txt")
    finally:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(True)]
        for member in family:
            member.send_signal(signal.SIGKILL)
        process.wait(timeout=10)
        psutil.wait_procs(family, timeout=10)


def test_a_model_served_from_the_registry_predicts(serving: Serving, told: dict[str, Any]) -> None:
    assert eventually(lambda: _answers(serving.url), 90), serving.output.read_text()
    answer = httpx.post(
        f"{serving.url}/invocations", json={"inputs": [told["example"]]}, trust_env=False
    )
    assert answer.json() == {"predictions": [pytest.approx(told["predicted"])]}


def test_the_example_project_runs_and_its_model_is_registered(
    server: Server, tmp_path: Path
) -> None:
    server.client(
        *("python", "-m", "mlflow", "run", PROJECT, "-P", "tree_depth=5"),
        *("--env-manager", "local", "--experiment-name", "projects"),
        folder=tmp_path,
    )
    with server.api(OWNER, server.owner_password()) as api:
        found = api.get("registered-models/get", params={"name": "decision-tree"}).json()
        (version,) = found["registered_model"]["latest_versions"]
        run = api.get("runs/get", params={"run_id": version["run_id"]}).json()["run"]
    params = {each["key"]: each["value"] for each in run["data"]["params"]}
    assert (params["tree_depth"], run["info"]["status"]) == ("5", "FINISHED")


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ping", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
