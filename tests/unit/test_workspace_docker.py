"""What is asked of Docker about a workspace, and what is told when it fails, with a double of it.

The double answers as a program in a table does, and notes every call. The real one is in
tests/compose.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from trackstack.cli.destroy import _stock_lines
from trackstack.errors import TrackstackError, UsageError
from trackstack.operations.destroy import Stock
from trackstack.targets import compose_folder, docker
from trackstack.targets.compose import Compose
from unit.test_compose import plan

PROJECT = "trackstack-team-abcdef"
VOLUMES = f"echo {PROJECT}_postgres; echo {PROJECT}_artifacts"

RUNS_THE_SCRIPT = 'for last; do :; done; cd /; sh -c "$last"'
"""As `sh -c` would in a container that has no logs yet."""

Calls = Callable[[], list[str]]
Answers = Callable[[Mapping[str, str]], Calls]
"""Takes what the shell does for calls that begin so; returns what was called."""


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answers:
    """A docker that knows a few calls and is well; any other one fails."""

    def install(table: Mapping[str, str]) -> Calls:
        programs, called = tmp_path / "bin", tmp_path / "called"
        programs.mkdir()
        well = {
            "version": "echo 28.0.0",
            "compose version --short": "echo 2.40.0",
            "compose version": ":",
            "buildx version": ":",
        }
        cases = "".join(f"{json.dumps(k)}*) {v};;\n" for k, v in {**well, **table}.items())
        text = (
            f'echo "$*" >>{called}\ncase "$*" in\n{cases}*) echo no such call >&2; exit 1;;\nesac\n'
        )
        (programs / "docker").write_text(f"#!/bin/sh\n{text}")
        (programs / "docker").chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.delenv("DOCKER_HOST", raising=False)
        return lambda: called.read_text().splitlines() if called.exists() else []

    return install


def workspace(tmp_path: Path, **stores: str) -> Compose:
    """A workspace whose folder is rendered."""
    made, folder = plan(stores=stores), tmp_path / "team" / "compose"
    assert made.compose is not None
    files = compose_folder.rendered(made, made.compose, PROJECT, 1000, 1001)
    folder.mkdir(parents=True)
    (folder / "compose.yaml").write_bytes(files["compose.yaml"])
    return Compose(tmp_path / "team")


def test_a_log_of_a_service_that_the_workspace_lacks_is_refused(
    tmp_path: Path, answers: Answers
) -> None:
    answers({"ps": "echo tracking", "compose": "echo no such service: sftp >&2; exit 1"})
    with pytest.raises(UsageError) as refused:
        list(workspace(tmp_path, artifacts="/srv/artifacts").logs("sftp", follow=False))
    assert refused.value.sentence == "This workspace has no service 'sftp'."
    assert refused.value.hint == "It has nginx, mlflow, agent, postgres and jupyter."


def test_a_removed_workspace_has_no_log_and_says_so(tmp_path: Path, answers: Answers) -> None:
    answers({"ps": ":", "compose --ansi never logs": ":"})
    with pytest.raises(TrackstackError, match="was in a container that is removed"):
        list(workspace(tmp_path).logs("jupyter", follow=False))


def test_a_stopped_service_s_log_is_shown(tmp_path: Path, answers: Answers) -> None:
    # Only with --all does `docker ps` name a container that has ended.
    answers({"ps --all": "echo jupyter", "compose --ansi never logs": "echo one; echo two >&2"})
    assert list(workspace(tmp_path).logs("jupyter", follow=False)) == ["one", "two"]


@pytest.mark.parametrize("follow", [False, True])
def test_a_log_that_docker_cannot_read_is_a_failure_with_its_last_line(
    tmp_path: Path, answers: Answers, follow: bool
) -> None:
    answers(
        {"ps": "echo jupyter", "compose --ansi never logs": "echo one; echo it broke. >&2; exit 1"}
    )
    with pytest.raises(TrackstackError, match=r"^`docker compose logs` failed: it broke\.$"):
        list(workspace(tmp_path).logs("jupyter", follow))


def test_what_docker_says_of_a_failure_is_no_line_of_the_log(
    tmp_path: Path, answers: Answers
) -> None:
    answers({"ps": "echo jupyter", "compose": "echo one; echo two; echo it broke >&2; exit 1"})
    shown: list[str] = []
    reading = workspace(tmp_path).logs("jupyter", follow=False)
    with pytest.raises(TrackstackError):
        shown.extend(reading)
    assert shown == ["one", "two"]


def test_a_log_inside_a_container_that_cannot_be_read_is_a_failure(
    tmp_path: Path, answers: Answers
) -> None:
    answers({"ps": "echo tracking", "compose": "echo tail: no such file >&2; exit 1"})
    shown: list[str] = []
    with pytest.raises(TrackstackError, match="`docker compose exec` failed: tail: no such file"):
        shown.extend(workspace(tmp_path).logs("nginx", follow=False))
    assert shown == []


@pytest.mark.parametrize("end", ["exit 130", "kill -INT $$"])
def test_a_person_who_ends_a_log_has_seen_no_failure(
    tmp_path: Path, answers: Answers, end: str
) -> None:
    answers({"ps": "echo tracking; echo jupyter", "compose": f"echo one; {end}"})
    made = workspace(tmp_path)
    assert [list(made.logs(each, follow=True)) for each in ("nginx", "jupyter")] == [["one"]] * 2


def test_a_model_without_a_log_is_told(tmp_path: Path, answers: Answers) -> None:
    answers({"ps": "echo tracking", "compose": RUNS_THE_SCRIPT})
    with pytest.raises(TrackstackError, match="model-churn has not written a log yet"):
        workspace(tmp_path).logs("model-churn", follow=False)


def test_a_server_without_requests_has_none(tmp_path: Path, answers: Answers) -> None:
    answers({"ps": "echo tracking", "compose": RUNS_THE_SCRIPT})
    assert list(workspace(tmp_path).requests()) == []


def test_the_size_of_what_runs_is_asked_in_its_containers(tmp_path: Path, answers: Answers) -> None:
    called = answers(
        {
            "ps": "echo postgres; echo sftp",
            "compose --progress plain --ansi never exec -T postgres du": "echo '1000 /x'",
            "compose --progress plain --ansi never exec -T sftp du": "echo '234 /x'",
        }
    )
    assert workspace(tmp_path).stored_bytes() == 1234
    assert not [call for call in called() if " run " in f" {call} "]


def test_the_size_of_what_is_stopped_is_asked_without_making_anything(
    tmp_path: Path, answers: Answers
) -> None:
    called = answers(
        {"ps": ":", "volume ls": VOLUMES, "image inspect": ":", "run --rm": "echo '500 /stored'"}
    )
    assert workspace(tmp_path).stored_bytes() == 1000
    assert not [call for call in called() if call.startswith("compose")]
    first, second = (call for call in called() if call.startswith("run"))
    for call in (first, second):
        assert "--network none" in call
        assert "--pull never" in call
        assert "--user 1000:1001" in call
    assert f"--volume {PROJECT}_postgres:/stored:ro" in first
    assert f"--volume {PROJECT}_artifacts:/stored:ro" in second


@pytest.mark.parametrize("gone", ["volume ls", "image inspect"])
def test_the_size_of_what_has_no_volume_or_image_is_not_known(
    tmp_path: Path, answers: Answers, gone: str
) -> None:
    table = {"ps": ":", "volume ls": VOLUMES, "image inspect": ":"}
    called = answers({**table, gone: "exit 1"})
    assert workspace(tmp_path).stored_bytes() is None
    assert not [call for call in called() if call.startswith(("run", "compose", "pull"))]


def test_a_workspace_whose_folder_was_never_rendered_is_no_missing_docker(
    tmp_path: Path, answers: Answers
) -> None:
    answers({"ps": ":"})
    made = Compose(tmp_path / "team")
    assert (made.running(), made.stored_bytes()) == (False, None)
    with pytest.raises(TrackstackError, match="was never made"):
        made.logs("jupyter", follow=False)
    for ask in (
        lambda: docker.compose(tmp_path / "none", "ps"),
        lambda: list(docker.lines(tmp_path / "none", "ps")),
    ):
        with pytest.raises(TrackstackError, match="is not made yet: there is no folder"):
            ask()


def test_a_size_that_is_not_known_is_not_told_before_a_removal() -> None:
    stock = Stock(None, False, None, stored_bytes=None, last_write=None, people=2)
    assert _stock_lines(stock) == ["runs unknown (the server does not run)", "2 users"]
