"""What the other commands say of a workspace, and of a Docker that is away."""

import json
from pathlib import Path

from compose.engine import Engine
from compose.workspace import SERVICES, Workspace, a_workspace


def test_before_the_first_deploy_a_plan_tells_everything_and_makes_nothing(
    engine: Engine, tmp_path: Path
) -> None:
    with a_workspace(engine, tmp_path / "planned") as made:
        told = made.json("plan", *made.deploying[1:])
        keys = {change["key"]: change["after"] for change in told["changes"]}
        assert (keys["target"], keys["compose.base"]) == ("compose", engine.base)
        assert not made.home.exists(), "something is kept of what was only planned"
        assert made.left() == {}


def test_render_writes_what_is_deployed_and_no_secret(workspace: Workspace, tmp_path: Path) -> None:
    workspace.run("render", tmp_path / "out", "-e", "compose")
    rendered = tmp_path / "out" / "compose"
    files = {file.relative_to(rendered) for file in rendered.rglob("*") if file.is_file()}
    assert {
        Path("compose.yaml"),
        *(Path(name, "Dockerfile") for name in SERVICES - {"models"}),
    } <= files
    assert not [file for file in files if "secrets" in file.parts]
    differ = [
        str(file)
        for file in files
        if (workspace.project / file).read_bytes() != (rendered / file).read_bytes()
    ]
    assert differ == []


def findings(workspace: Workspace, **variables: str) -> dict[tuple[str, str], str]:
    """How bad is what doctor looked at, by where and what."""
    done = workspace.run("doctor", "--json", ok=False, **variables)
    return {(f["where"], f["about"]): f["level"] for f in json.loads(done.stdout)["findings"]}


def test_doctor_asks_for_docker_and_not_for_an_nginx_of_this_computer(
    workspace: Workspace,
) -> None:
    found = findings(workspace)
    assert found["this computer", "docker"] == "ok"
    assert ("this computer", "nginx") not in found
    assert [about for about, level in found.items() if level == "bad"] == []


def test_a_docker_that_is_away_is_what_each_command_tells(
    workspace: Workspace, tmp_path: Path
) -> None:
    away = f"unix://{tmp_path}/nothing.sock"
    for words in (("status",), ("logs", "sftp"), ("logs", "nginx"), ("notebook",), ("verify",)):
        done = workspace.run(*words, ok=False, DOCKER_HOST=away)
        assert (done.returncode, done.stdout) == (4, ""), f"{words}: {done.stdout}"
        assert done.stderr.startswith("error: Docker's engine does not answer: "), words
    found = findings(workspace, DOCKER_HOST=away)
    assert (found["this computer", "docker"], found["compose", "running"]) == ("bad", "bad")
    (listed,) = json.loads(workspace.run("list", "--json", DOCKER_HOST=away).stdout)
    assert listed["problem"].startswith("Docker's engine does not answer: ")


def test_open_tells_both_pages_and_not_the_token(workspace: Workspace) -> None:
    assert workspace.json("open") == {"url": workspace.url, "jupyterlab": workspace.lab}


def test_what_is_here_already_cannot_be_attached(workspace: Workspace) -> None:
    done = workspace.run("attach", "compose", ok=False)
    told = "error: Environment 'compose' is in this computer's Docker already, and in no cloud."
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, told)


def test_a_cell_that_fails_is_told_with_its_number_in_one_line(workspace: Workspace) -> None:
    workspace.run("users", "remove", "jupyter")
    try:
        done = workspace.run("notebook", "--json", ok=False)
    finally:
        workspace.run("deploy", "compose")
    assert (done.returncode, done.stdout) == (3, "")
    sentence, way = done.stderr.splitlines()
    assert sentence.startswith("error: Cell 3 of 4 of the example failed: MlflowException: ")
    assert sentence.endswith(" failed with error code 401 != 200.")
    assert way.startswith("  `trackstack logs mlflow")
    assert workspace.json("notebook")["cells"] == 4, "a deploy did not let the client in again"
