"""`trackstack verify` proves what it says and leaves nothing behind, even when it is killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

import httpx
import pytest
from servers import ADA, Server, all_files, all_rows, send_at

from kits import eventually


@dataclass(frozen=True)
class State:
    """All that MLflow stores: every row, every file."""

    rows: dict[str, list[str]]
    files: dict[str, str | None]


@pytest.fixture(scope="module")
def deleted(server: Server, ada: str) -> dict[str, str]:
    """Runs, experiments and models that a user deleted, which MLflow only marks.

    A worker may come back to this module with tests it takes from another: names are new each time.
    """
    mark = token_hex(4)
    with server.api(ADA, ada) as api:
        kept = _post(api, "experiments/create", name=f"kept-{mark}")["experiment_id"]
        run = _post(api, "runs/create", experiment_id=kept, start_time=1)["run"]["info"]["run_id"]
        api.put(
            f"{server.url}/api/2.0/mlflow-artifacts/artifacts/{kept}/{run}/artifacts/weights.bin",
            content=b"dear",
        ).raise_for_status()
        model = _post(api, "logged-models", experiment_id=kept, name="tree")["model"]["info"]
        _post(api, "runs/delete", run_id=run)
        api.delete(f"logged-models/{model['model_id']}").raise_for_status()
        dropped = _post(api, "experiments/create", name=f"dropped-{mark}")["experiment_id"]
        _post(api, "runs/create", experiment_id=dropped, start_time=1)
        _post(api, "experiments/delete", experiment_id=dropped)
    return {"run": run, "model": model["model_id"], "experiment": dropped}


@pytest.fixture(scope="module")
def proven(
    server: Server, deleted: dict[str, str]
) -> tuple[State, list[State], list[dict[str, Any]]]:
    """What MLflow stored before, after and after another verify; and their receipts."""
    assert deleted
    before = _state(server)
    after, receipts = [], []
    for _ in range(2):
        receipt = server.json("verify")
        assert isinstance(receipt, dict)
        receipts.append(receipt)
        after.append(_state(server))
    return before, after, receipts


Proven = tuple[State, list[State], list[dict[str, Any]]]


@pytest.mark.parametrize("time", [1, 2])
def test_every_row_of_the_database_is_as_before(proven: Proven, time: int) -> None:
    before, after, _ = proven
    assert after[time - 1].rows == before.rows


@pytest.mark.parametrize("time", [1, 2])
def test_every_file_of_the_data_is_as_before(proven: Proven, time: int) -> None:
    before, after, _ = proven
    assert after[time - 1].files == before.files


def test_what_a_user_deleted_can_still_be_restored(
    proven: Proven, server: Server, deleted: dict[str, str], ada: str
) -> None:
    assert len(proven[1]) == 2
    with server.api(ADA, ada) as api:
        run = api.get("runs/get", params={"run_id": deleted["run"]}).json()
        experiment = api.get(
            "experiments/get", params={"experiment_id": deleted["experiment"]}
        ).json()
    assert run["run"]["info"]["lifecycle_stage"] == "deleted"
    assert experiment["experiment"]["lifecycle_stage"] == "deleted"


def test_the_receipt_says_what_was_tried_what_was_seen_and_how_long_it_took(proven: Proven) -> None:
    for check in proven[2][0]["checks"]:
        assert check["held"] is True, check
        assert check["tried"], check
        assert check["seen"], check
        assert check["milliseconds"] >= 0, check


@pytest.mark.parametrize(
    "part",
    [
        "a stranger is refused everywhere",
        "a foreign Host is refused",
        "a wrong password and an unknown user look the same",
        "1,000 metrics",
        "an artifact of 64 MB",
        "a model version",
        "removed for good",
    ],
)
def test_the_receipt_covers(proven: Proven, part: str) -> None:
    assert any(part in check["tried"] for check in proven[2][0]["checks"])


def test_the_receipts_are_kept(proven: Proven, server: Server) -> None:
    kept = [json.loads(file.read_text()) for file in (server.folder() / "receipts").glob("*.json")]
    for receipt in proven[2]:
        assert receipt in kept


def test_a_quick_verify_writes_nothing(server: Server, deleted: dict[str, str]) -> None:
    assert deleted
    before = _state(server), _written(server)
    server.run("verify", "--quick")
    assert (_state(server), _written(server)) == before


def test_a_verify_after_killed_ones_leaves_everything_as_before(
    server: Server, deleted: dict[str, str]
) -> None:
    assert deleted
    before = _state(server)
    for moment in (
        "a run is logged",
        "1,000 metrics",  # so that it dies amid the upload
        "an artifact of",
        "a model version",  # and amid the clean-up
    ):
        send_at(server.start("verify"), moment)
    assert _state(server) != before, "the killed ones had logged nothing: this proves nothing"
    server.run("verify")
    assert _state(server) == before


def test_a_verify_killed_while_the_agent_cleans_up_leaves_everything_as_before(
    server: Server, deleted: dict[str, str]
) -> None:
    assert deleted
    before = _state(server)
    previous = _ordered(server)
    verify = server.start("verify")
    ordered = eventually(lambda: _ordered(server) > previous, 60)
    verify.kill()
    verify.communicate()
    assert ordered, "no clean-up was ordered"
    assert eventually(lambda: _cleaned(server) > previous, 60), "the agent has not cleaned up"
    assert _state(server) == before


def test_a_server_that_lets_strangers_in_is_not_proven(open_to_strangers: Server) -> None:
    done = open_to_strangers.run("verify", "--quick", ok=False)
    assert (done.returncode, "without a login, not 401" in done.stderr) == (3, True), done.stderr


def test_a_server_whose_mlflow_is_down_is_not_proven_and_the_receipt_says_so(
    without_mlflow: Server,
) -> None:
    receipts = without_mlflow.folder() / "receipts"
    before = set(receipts.glob("*"))
    done = without_mlflow.run("verify", ok=False)
    assert (done.returncode, "a run is logged" in done.stderr) == (3, True), done.stderr
    (kept,) = set(receipts.glob("*")) - before
    checks = json.loads(kept.read_text())["checks"]
    assert [check["held"] for check in checks if "a run is logged" in check["tried"]] == [False]


@pytest.fixture
def open_to_strangers(rough: Server) -> Iterator[Server]:
    """The server with nginx settings that somebody edited by hand."""
    settings = (rough.machine() / "nginx.conf").resolve()
    sound = settings.read_text()
    settings.write_text(sound.replace("auth_basic MLflow;", "auth_basic off;"))
    _reload_nginx(rough)
    assert eventually(lambda: rough.status_for("nobody", "nothing") == 200)
    yield rough
    settings.write_text(sound)
    _reload_nginx(rough)
    assert eventually(lambda: rough.status_for("nobody", "nothing") == 401)


@pytest.fixture
def without_mlflow(rough: Server, ada: str) -> Iterator[Server]:
    """The server whose MLflow somebody stopped."""
    (service,) = (file.stem for file in (rough.machine() / "services").glob("mlflow-*.sh"))
    stop = (
        "import sys; from trackstack.agent.supervisor import Supervisor as S; S().stop(sys.argv[1])"
    )
    (python,) = rough.machine().glob("packages/*/bin/python")
    # Else the agent would have it up again in no time.
    python.rename(python.with_name("hidden"))
    # The supervisor's socket is named from the machine's folder: its whole path is too long.
    subprocess.run([sys.executable, "-c", stop, service], cwd=rough.machine(), check=True)
    yield rough
    python.with_name("hidden").rename(python)
    assert eventually(lambda: rough.status_for(ADA, ada) == 200, 90)


def _state(server: Server) -> State:
    return State(
        all_rows(server.data / "mlflow.db"),
        # The database is compared by its rows; `cleaned` counts the clean-ups.
        all_files(server.data, "mlflow.db", "cleaned"),
    )


def _written(server: Server) -> dict[str, str | None]:
    """All that the kit keeps, but not what the machine says of itself every 30 seconds."""
    return all_files(server.folder(), "machine", "control/observed")


def _ordered(server: Server) -> int:
    order = server.folder() / "control" / "desired" / "cleanup.json"
    return int(json.loads(order.read_text())["generation"]) if order.exists() else 0


def _cleaned(server: Server) -> int:
    report = server.folder() / "control" / "observed" / "machines" / "local.json"
    return int(json.loads(report.read_text())["applied"]["cleanup"])


def _reload_nginx(server: Server) -> None:
    os.kill(int((server.machine() / "run" / "nginx.pid").read_text()), signal.SIGHUP)


def _post(api: httpx.Client, method: str, **body: object) -> dict[str, Any]:
    return dict(api.post(method, json=body).raise_for_status().json())
