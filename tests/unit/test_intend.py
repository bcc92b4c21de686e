"""Nothing recorded changes unasked: what the next deploy would do, from flags, file and record."""

from pathlib import Path

import pytest

from trackstack import lock, spec
from trackstack.control.base import read
from trackstack.desired import Release
from trackstack.environment import Environment
from trackstack.errors import UsageError
from trackstack.operations.plan import Intent, intend
from trackstack.operations.render import render
from trackstack.plan import Difference
from unit.making import LOCK, deployed

NEWER_MLFLOW = "3.99.0"


@pytest.fixture
def newer_kit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kit that would decide everything otherwise, on another computer by another account."""
    older = spec.defaults
    monkeypatch.setattr(lock, "DEFAULT_MLFLOW", NEWER_MLFLOW)
    monkeypatch.setattr(lock, "for_mlflow", lambda *_: LOCK)
    monkeypatch.setattr(spec.local, "default_workers", lambda: 63)
    monkeypatch.setattr("getpass.getuser", lambda: "somebody-else")

    def newer(target: str, environment: str, account: str, mlflow: str) -> spec.Asked:
        decided = older(target, environment, account, mlflow)
        return {**decided, "server": {**decided["server"], "port": 1111}, "protected": True}

    monkeypatch.setattr(spec, "defaults", newer)


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "team.yaml"
    file.write_text(text)
    return file


def told(intent: Intent) -> dict[str, tuple[str | None, str]]:
    return {each.key: (each.before, each.after) for each in intent.changes}


def test_a_first_deploy_makes_everything_new() -> None:
    intent = intend(Environment("local"), "local", {})
    assert intent.record is None
    assert intent.asked == {}
    assert {each.before for each in intent.plan_changes} == {None}
    assert intent.plan.mlflow.version == lock.DEFAULT_MLFLOW


def test_a_plan_alone_writes_nothing(home: Path) -> None:
    intend(Environment("local"), "local", {"server": {"port": 9000}})
    assert not home.exists()


def test_the_same_command_again_changes_nothing(environment: Environment) -> None:
    intent = intend(environment, "local", {"users": ["ada"]})
    assert intent.changes == []
    assert intent.effective == environment.existing_record().spec


@pytest.mark.usefixtures("newer_kit")
def test_the_kit_of_these_tests_would_really_decide_otherwise() -> None:
    new = intend(Environment("fresh"), "local", {})
    assert new.plan.nginx.port == 1111
    assert (new.plan.mlflow.version, new.plan.mlflow.workers) == (NEWER_MLFLOW, 63)
    assert new.plan.packages == LOCK
    assert new.effective.users == ["somebody-else"]
    assert new.effective.protected


def test_the_same_command_with_a_newer_kit_changes_nothing(
    environment: Environment, request: pytest.FixtureRequest
) -> None:
    before = environment.existing_record()
    request.getfixturevalue("newer_kit")
    for flags in ({}, {"users": ["ada"]}):
        intent = intend(environment, "local", flags)
        assert intent.changes == []
        assert intent.plan == before.plan
        assert intent.effective == before.spec


def test_one_flag_with_a_newer_kit_changes_that_one_thing(
    environment: Environment, request: pytest.FixtureRequest
) -> None:
    workers = environment.existing_record().plan.mlflow.workers
    request.getfixturevalue("newer_kit")
    intent = intend(environment, "local", {"server": {"workers": 17}})
    assert told(intent) == {"mlflow.workers": (str(workers), "17")}
    assert intent.plan.packages == environment.existing_record().plan.packages


def test_another_mlflow_brings_the_lock_that_goes_with_it(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "for_mlflow", lambda version, _: LOCK.replace("3.17.2", version))
    intent = intend(environment, "local", {"server": {"mlflow": "3.16.0"}})
    assert told(intent)["mlflow.version"] == ("3.17.2", "3.16.0")
    assert told(intent)["packages.mlflow"] == ("3.17.2", "3.16.0")


def test_flags_patch_what_was_asked_before() -> None:
    made = deployed("local", "ada", port=9000)
    intent = intend(made, "local", {"server": {"workers": 3}})
    assert intent.asked == {"users": ["ada"], "server": {"port": 9000, "workers": 3}}
    assert intent.plan.nginx.port == 9000


def test_a_flag_goes_before_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, "server: {port: 9000, workers: 3}\n")
    intent = intend(Environment("local"), "local", {"server": {"port": 9001}}, file)
    assert (intent.plan.nginx.port, intent.plan.mlflow.workers) == (9001, 3)


def test_a_key_that_a_spec_file_no_longer_holds_shows_as_a_change(tmp_path: Path) -> None:
    made = deployed("local", "ada", port=9000)
    intent = intend(made, "local", {}, written(tmp_path, "users: [ada]\n"))
    assert told(intent)["nginx.port"] == ("9000", "8080")
    assert intent.asked == {"users": ["ada"]}


def test_a_key_that_no_spec_file_ever_held_stays_as_it_was_decided(
    tmp_path: Path, environment: Environment, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("newer_kit")
    intent = intend(environment, "local", {}, written(tmp_path, "users: [ada]\n"))
    assert intent.changes == []


def test_the_same_spec_file_again_is_no_change(tmp_path: Path, environment: Environment) -> None:
    port = environment.existing_record().plan.nginx.port
    file = written(tmp_path, f"users: [ada]\nserver: {{port: {port}}}\n")
    assert intend(environment, "local", {}, file).changes == []


def test_somebody_new_in_the_spec_is_a_change_and_somebody_known_is_none(
    environment: Environment,
) -> None:
    intent = intend(environment, "local", {"users": ["ada", "bob"]})
    assert intent.changes == [Difference(key="users", before=None, after="bob")]


def test_protecting_an_environment_is_a_change(tmp_path: Path, environment: Environment) -> None:
    file = written(tmp_path, "users: [ada]\nprotected: true\n")
    assert told(intend(environment, "local", {}, file)) == {"protected": ("false", "true")}


def test_a_flag_that_makes_no_sense_is_told_with_its_key(environment: Environment) -> None:
    with pytest.raises(UsageError, match=r"What was asked: server\.mlflow is 'newest'"):
        intend(environment, "local", {"server": {"mlflow": "newest"}})


def test_a_spec_for_another_environment_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, "environment: team-a\n")
    with pytest.raises(UsageError, match="for the environment 'team-a', not for 'local'") as error:
        intend(Environment("local"), "local", {}, file)
    assert "-e team-a" in (error.value.hint or "")


def test_an_environment_of_another_target_is_refused(environment: Environment) -> None:
    with pytest.raises(UsageError, match="runs on local, not on aws") as error:
        intend(environment, "aws", {})
    assert "-e" in (error.value.hint or "")


def test_a_spec_for_another_target_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, "target: local\n")
    with pytest.raises(UsageError, match="for the target 'local', not for 'aws'"):
        intend(Environment("cloud"), "aws", {}, file)


def test_what_render_writes_is_what_a_deploy_puts_into_the_store(
    tmp_path: Path, environment: Environment
) -> None:
    written_files = render(environment, {}, tmp_path / "out")
    release, _ = read(environment.target.store, Release)
    assert release is not None
    expected = {file.path: file.content for file in release.files}
    expected["packages.txt"] = release.packages
    assert {
        file.relative_to(tmp_path / "out").as_posix(): file.read_text() for file in written_files
    } == expected
    there = sorted(file for file in (tmp_path / "out").rglob("*") if file.is_file())
    assert there == written_files


def test_render_leaves_a_folder_that_holds_something_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    for place in (tmp_path, tmp_path / "mine"):
        with pytest.raises(UsageError, match="is there and not an empty folder"):
            render(Environment("local"), {}, place)
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


def test_render_tells_where_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot be written: Not a directory"):
        render(Environment("local"), {}, tmp_path / "file" / "below")
