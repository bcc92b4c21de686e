"""A workspace's life in a real Docker Engine: deployed, used, changed, killed, removed."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from compose.engine import Engine
from compose.workspace import OWNER, SERVICES, Workspace, a_workspace
from kits import eventually

E2E = Path(__file__).parents[1] / "e2e"
BACK_SECONDS = 240


def serves(workspace: Workspace) -> bool:
    return workspace.run("verify", "--quick", ok=False).returncode == 0


def test_the_first_deploy_proved_it_and_the_second_changes_nothing(workspace: Workspace) -> None:
    (receipt, *_) = sorted((workspace.folder("compose") / "receipts").iterdir())
    checks = json.loads(receipt.read_text())["checks"]
    assert [check["tried"] for check in checks if not check["held"]] == []
    assert {
        "JupyterLab takes its token",
        "an artifact of 64 MB goes up and comes back the same",
    } <= {check["tried"] for check in checks}
    before = workspace.containers()
    assert set(before) == SERVICES
    assert workspace.json("plan", "compose")["changes"] == []
    assert "Nothing changed." in workspace.run("deploy", "compose").stdout
    assert workspace.containers() == before, "a container was made anew"


def test_status_shows_where_jupyterlab_is_and_its_token(workspace: Workspace) -> None:
    seen = workspace.json("status")
    assert (seen["target"], seen["state"], seen["answers"]) == ("compose", "running", True)
    assert seen["workspace"]["url"] == workspace.lab
    assert seen["workspace"]["token"] in workspace.run("status").stdout
    assert seen["versions"].keys() == {"mlflow", "nginx", "python"}
    assert workspace.json("list") == [
        {**workspace.json("list")[0], "environment": "compose", "url": workspace.url}
    ]


def test_the_example_runs_and_its_run_is_on_the_server(workspace: Workspace) -> None:
    ran = workspace.json("notebook")
    assert (ran["cells"], ran["parameters"], ran["metrics"]) == (4, 2, 2)
    assert ran["url"].startswith(f"{workspace.url}/#/experiments/")
    assert "https://tracking.localhost:" in ran["printed"], "a link that leads a browser nowhere"


def test_a_client_of_this_computer_does_what_the_tutorials_show(
    workspace: Workspace, tmp_path: Path
) -> None:
    done = workspace.client(E2E / "tutorial.py", "tutorial", folder=tmp_path / "client")
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["received"] == told["sent"]
    assert (told["user"], told["stage"], told["aliased"]) == (OWNER, "Production", "1")
    assert told["predicted_by_alias"] == told["predicted_by_stage"] == told["predicted"]


def test_artifacts_are_on_the_sftp_server_and_nowhere_else(
    workspace: Workspace, tmp_path: Path
) -> None:
    done = workspace.client(E2E / "round_trip.py", "100", folder=tmp_path / "client")
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["received"] == told["sent"]
    assert told["address"].startswith("mlflow-artifacts:/"), "an address with a server in it"
    place = told["address"].removeprefix("mlflow-artifacts:/")
    sizes = workspace.inside("sftp", "sh", "-c", f"stat -c %s /artifacts/{place}/folder/*").stdout
    assert sizes.split() == [str(100 << 20)]
    left = workspace.inside("sftp", "find", "/artifacts", "-name", "*.new").stdout
    assert left == "", "something half-written is left"
    assert workspace.inside("tracking", "ls", "/var/lib/trackstack/data/artifacts").stdout == ""


def test_people_come_and_go_and_each_holds_at_once(workspace: Workspace) -> None:
    (made,) = workspace.json("users", "add", "grace", "--show-passwords")
    assert workspace.status_of("grace", made["password"]) == 200
    (new,) = workspace.json("users", "rotate", "grace", "--show-passwords")
    old_and_new = [workspace.status_of("grace", p) for p in (made["password"], new["password"])]
    assert old_and_new == [401, 200]
    workspace.run("users", "remove", "grace")
    assert workspace.status_of("grace", new["password"]) == 401


def test_jupyterlabs_own_client_is_rotated_like_everybody(workspace: Workspace) -> None:
    before = workspace.containers()
    workspace.run("users", "rotate", "jupyter", "--show-passwords")
    assert workspace.json("notebook")["cells"] == 4
    assert workspace.containers() == before


@pytest.mark.parametrize("service", ["nginx", "mlflow", "agent", "jupyter", "postgres", "sftp"])
def test_logs_of_each_service(workspace: Workspace, service: str) -> None:
    told = workspace.run("logs", service).stdout
    assert told or service in ("agent", "sftp"), f"{service} has logged nothing"
    assert workspace.token() not in told


def test_a_log_can_be_followed(workspace: Workspace) -> None:
    follower = subprocess.Popen(
        [*workspace.command, "logs", "-f", "nginx"],
        stdout=subprocess.PIPE,
        text=True,
        env=workspace.environment,
        cwd=workspace.home.parent,
    )
    try:
        assert follower.stdout is not None
        workspace.status_of(OWNER, "followed")
        workspace.status_of(OWNER, workspace.client_variables()["MLFLOW_TRACKING_PASSWORD"])
        assert any('"path":"/version","status":200' in line for line in follower.stdout)
    finally:
        follower.send_signal(signal.SIGINT)
        follower.communicate(timeout=30)
    find = "grep -ls '[f]ollow=name' /proc/[0-9]*/cmdline"
    gone = lambda: not workspace.inside("tracking", "sh", "-c", find).stdout  # noqa: E731
    assert eventually(gone), "what read the log runs on in the container"


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_a_service_that_is_killed_comes_back_with_what_it_had(
    workspace: Workspace, tmp_path: Path, service: str
) -> None:
    workspace.kill(service)
    assert eventually(lambda: serves(workspace), BACK_SECONDS), (
        f"it does not serve without {service}"
    )
    done = workspace.client(E2E / "round_trip.py", "1", folder=tmp_path / "client")
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["received"] == told["sent"]


def test_an_engine_that_is_away_is_no_stopped_workspace(
    workspace: Workspace, tmp_path: Path
) -> None:
    away = f"unix://{tmp_path}/nothing.sock"
    seen = workspace.run("status", ok=False, DOCKER_HOST=away)
    assert (seen.returncode, "Docker's engine does not answer" in seen.stderr) == (4, True)
    listed = workspace.run("list", DOCKER_HOST=away).stdout
    assert "unreadable" in listed
    assert "Docker's engine does not answer" in listed


def test_what_no_workspace_has_is_refused(workspace: Workspace) -> None:
    for words in (("allow", "list"), ("unlock",), ("policy", "deployer")):
        done = workspace.run(*words, ok=False)
        assert done.returncode == 2, f"{words}: {done.stderr}"
        assert done.stderr.startswith(("error: ", "usage: ")), done.stderr


def test_a_change_is_rolled_out(workspace: Workspace) -> None:
    workspace.run("deploy", "compose", "--workers", "2")
    assert workspace.json("plan", "compose", "--workers", "2")["changes"] == []
    assert workspace.json("notebook")["cells"] == 4


def test_after_a_power_cut_everything_is_back(workspace: Workspace) -> None:
    before = workspace.json("notebook")["run"]
    workspace.engine.restart()
    assert eventually(lambda: serves(workspace), BACK_SECONDS), workspace.docker("ps", "-a").stdout
    assert eventually(lambda: set(workspace.containers()) == SERVICES, BACK_SECONDS)
    assert workspace.json("notebook")["cells"] == 4
    assert runs(workspace, before) == "FINISHED"


def runs(workspace: Workspace, run: str) -> str:
    program = "import mlflow, sys; print(mlflow.get_run(sys.argv[1]).info.status)"
    folder = workspace.home.parent / "asks"
    return workspace.client("-c", program, run, folder=folder).stdout.strip()


def test_a_removal_keeps_what_is_stored_and_a_purge_leaves_nothing(
    engine: Engine, tmp_path: Path
) -> None:
    with a_workspace(engine, tmp_path / "life") as made:
        made.up()
        run = made.json("notebook")["run"]
        made.inside("jupyter", "sh", "-c", "echo mine > /home/jupyter/notebooks/mine.txt")

        made.run("destroy", "--yes")
        assert made.left() == {"volumes": 6, "images": 4}
        assert made.json("list")[0]["state"] == "removed"

        made.run("deploy", "compose")
        assert runs(made, run) == "FINISHED"
        kept = made.inside("jupyter", "cat", "/home/jupyter/notebooks/mine.txt").stdout
        assert kept == "mine\n", "the notebooks are gone"

        made.docker("down")
        made.docker("up", "--detach", "--wait")
        assert serves(made), "docker compose alone does not run the folder"

        made.run("destroy", "--purge", "--confirm", "compose")
        assert made.left() == {}
        assert not made.folder("compose").exists()


def test_a_killed_deploy_is_gone_on_with(engine: Engine, tmp_path: Path) -> None:
    with a_workspace(engine, tmp_path / "killed") as made:
        for sign in ("compose.base", "made    images", "ok  files of the release written"):
            kill_when(made, sign)
        made.up()
        assert serves(made)


def kill_when(workspace: Workspace, sign: str) -> None:
    """Start a deploy and kill it, with all it started, when it says something."""
    with subprocess.Popen(
        [*workspace.command, *workspace.deploying],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=workspace.environment,
        cwd=workspace.home.parent,
        start_new_session=True,
    ) as deploy:
        assert deploy.stderr is not None
        said = any(sign in line for line in deploy.stderr)
        os.killpg(deploy.pid, signal.SIGKILL)
    assert said, f"the deploy did not come to say {sign!r}"
