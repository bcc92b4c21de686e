"""An environment's place at home: its record, its credentials, its locks, its end."""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from trackstack import environment as environments
from trackstack.environment import Environment, Record
from trackstack.errors import BusyError, TrackstackError, UsageError
from unit.making import NOON, deployed


def record_file(environment: Environment) -> Path:
    return environment.folder / "record.json"


def edit(environment: Environment, **values: object) -> None:
    file = record_file(environment)
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_a_record_comes_back_as_it_was_written(environment: Environment) -> None:
    record = environment.existing_record()
    environment.write_record(record)
    assert environment.record() == record
    assert Record.model_validate_json(record.model_dump_json()) == record


def test_before_the_first_deploy_there_is_no_record_and_no_file() -> None:
    nothing = Environment("local")
    assert nothing.record() is None
    assert not nothing.exists
    assert not nothing.folder.exists()


@pytest.mark.parametrize("kit", ["99.0.0", "0.1.1", "0.2.0.dev1"])
def test_the_record_of_a_newer_kit_is_refused_with_its_version(
    environment: Environment, monkeypatch: pytest.MonkeyPatch, kit: str
) -> None:
    monkeypatch.setattr(environments, "__version__", "0.1.0")
    # A newer record may hold what this kit has never heard of: its version is told all the same.
    edit(environment, kit=kit, news={"of": "tomorrow"})
    with pytest.raises(TrackstackError) as refused:
        environment.record()
    assert kit in refused.value.sentence
    assert "0.1.0" in refused.value.sentence
    assert "damaged" not in refused.value.sentence


@pytest.mark.parametrize("kit", ["0.0.9", "0.1.0", "0.1.0rc1"])
def test_the_record_of_an_older_kit_is_read_and_then_signed_by_this_one(
    environment: Environment, monkeypatch: pytest.MonkeyPatch, kit: str
) -> None:
    monkeypatch.setattr(environments, "__version__", "0.1.0")
    edit(environment, kit=kit)
    record = environment.existing_record()
    environment.write_record(record)
    assert json.loads(record_file(environment).read_text())["kit"] == "0.1.0"


DAMAGED = [b"", b"{", b"[]", b"5", b"null", b'"kit"', b"{}", b"\xff", b'{"kit": null}']
DAMAGED += [b'{"kit": "new"}', b'{"kit": "0.0.1"}', b'{"kit": 5}']


@pytest.mark.parametrize("data", DAMAGED)
def test_a_damaged_record_is_told_with_its_file(environment: Environment, data: bytes) -> None:
    record_file(environment).write_bytes(data)
    with pytest.raises(TrackstackError) as refused:
        environment.record()
    assert refused.value.sentence == f"The record {record_file(environment)} is damaged."
    assert record_file(environment).read_bytes() == data


NEEDED = sorted({name for name, of in Record.model_fields.items() if of.is_required()} | {"kit"})


@pytest.mark.parametrize("key", NEEDED)
def test_a_record_that_lacks_a_key_is_damaged(environment: Environment, key: str) -> None:
    content = json.loads(record_file(environment).read_text())
    del content[key]
    record_file(environment).write_text(json.dumps(content))
    with pytest.raises(TrackstackError, match="is damaged"):
        environment.record()


def test_without_any_environment_none_is_found() -> None:
    with pytest.raises(UsageError, match="There is no environment yet"):
        environments.find(None)
    assert environments.all_names() == []


@pytest.mark.usefixtures("environment")
def test_the_only_environment_is_the_one_meant() -> None:
    assert environments.find(None).name == "local"


def test_of_several_environments_one_must_be_named() -> None:
    deployed("team-a", "ada")
    deployed("team-b", "ada")
    with pytest.raises(UsageError, match="team-a, team-b"):
        environments.find(None)
    assert environments.find("team-b").name == "team-b"


def test_a_wrong_name_leads_to_the_nearest() -> None:
    deployed("team-a", "ada")
    with pytest.raises(UsageError) as refused:
        environments.find("taem-a")
    assert refused.value.sentence == "There is no environment 'taem-a'."
    assert refused.value.hint == "Did you mean 'team-a'?"


def test_a_name_near_to_none_leads_to_the_list() -> None:
    deployed("team-a", "ada")
    with pytest.raises(UsageError) as refused:
        environments.find("xyz")
    assert "trackstack list" in (refused.value.hint or "")


def test_a_folder_without_a_record_is_no_environment(environment: Environment) -> None:
    (environment.folder.parent / "stray").mkdir()
    (environment.folder.parent / "file").write_text("")
    assert environments.all_names() == ["local"]


def test_home_is_where_the_variable_says_even_when_it_is_relative(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRACKSTACK_HOME", "here")
    assert environments.home() == tmp_path / "here"


@pytest.mark.parametrize("unset", ["", None])
def test_home_is_the_platforms_place_for_data_when_nothing_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unset: str | None
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("TRACKSTACK_HOME")
    if unset is not None:
        monkeypatch.setenv("TRACKSTACK_HOME", unset)
    assert environments.home().is_relative_to(tmp_path)
    assert environments.home().name == "trackstack"


def test_the_first_users_password_is_kept_for_this_account_only(environment: Environment) -> None:
    environment.keep_password("ada", "xK7-unlikely")
    assert environment.owner() == "ada"
    assert environment.password("ada") == "xK7-unlikely"
    assert environment.password("bob") is None
    files = [file for file in environment.folder.rglob("*") if file.is_file()]
    holding = [file for file in files if b"xK7-unlikely" in file.read_bytes()]
    assert [stat.S_IMODE(file.stat().st_mode) for file in holding] == [0o600]


@pytest.mark.parametrize("data", [b"", b"{", b"5", b"null", b"[1]", b'{"ada": 5}', b'"ada"'])
def test_damaged_credentials_are_as_good_as_none(environment: Environment, data: bytes) -> None:
    (environment.folder / "credentials.json").write_bytes(data)
    assert environment.owner() is None
    assert environment.password("ada") is None


@pytest.mark.usefixtures("environment")
def test_everything_at_home_is_for_this_account_only(home: Path) -> None:
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    for path in home.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


HOLDS = """
import sys
from trackstack.environment import Environment
with Environment("local").held("changing", "trackstack deploy local"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(environment: Environment) -> "subprocess.Popen[str]":
    assert environment.exists
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_command_is_told_who_holds_the_environment_and_since_when(
    environment: Environment, holder: "subprocess.Popen[str]"
) -> None:
    with pytest.raises(BusyError) as busy, environment.held("changing", "trackstack destroy"):
        pass
    assert busy.value.exit_code == 5
    assert "changing environment 'local': trackstack deploy local" in busy.value.sentence
    assert f"process {holder.pid}, since " in busy.value.sentence


@pytest.mark.usefixtures("holder")
def test_another_activity_is_not_held_up(environment: Environment) -> None:
    with environment.held("verifying", "trackstack verify"):
        pass


def test_a_lock_dies_with_its_holder(
    environment: Environment, holder: "subprocess.Popen[str]"
) -> None:
    holder.kill()
    holder.wait()
    with environment.held("changing", "trackstack deploy local"):
        pass


def test_an_environment_is_free_again_after_its_holder_ended(environment: Environment) -> None:
    for _ in range(2):
        with environment.held("changing", "trackstack deploy local"):
            pass


def test_a_holder_that_fails_lets_go_and_the_error_comes_through(environment: Environment) -> None:
    with pytest.raises(UsageError, match="no"), environment.held("changing", "x"):
        raise UsageError("no")
    with environment.held("changing", "y"):
        pass


def test_a_first_deploy_that_is_refused_leaves_no_folder(home: Path) -> None:
    with pytest.raises(UsageError), Environment("local").held("changing", "x"):
        raise UsageError("no")
    assert list(home.parent.rglob("*")) == []


def test_a_refused_deploy_leaves_the_environments_beside_it(environment: Environment) -> None:
    with pytest.raises(UsageError), Environment("other").held("changing", "x"):
        raise UsageError("no")
    assert [folder.name for folder in environment.folder.parent.iterdir()] == ["local"]


def test_a_lock_on_a_folder_that_was_removed_meanwhile_is_taken_anew(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else two commands would hold it: one by the file that is gone, one by the new one."""
    opening = os.open
    removed = []

    def open_then_lose(path: object, *arguments: int, **more: int) -> int:
        handle = opening(path, *arguments, **more)  # type: ignore[arg-type]
        if str(path).endswith("changing.lock") and not removed:
            removed.append(path)
            shutil.rmtree(environment.folder)
        return handle

    monkeypatch.setattr(os, "open", open_then_lose)
    with environment.held("changing", "first"):
        assert removed
        with pytest.raises(BusyError), Environment("local").held("changing", "second"):
            pass


def test_forgetting_an_environment_leaves_only_its_empty_folder_and_locks(
    environment: Environment,
) -> None:
    environment.keep_password("ada", "secret")
    (environment.folder / "receipts").mkdir()
    with environment.held("changing", "trackstack destroy"):
        environment.forget()
    assert not environment.folder.exists()
    assert environments.all_names() == []


@pytest.mark.parametrize("what", ["the machine", "the control store", "the receipts", "a file"])
def test_an_environment_that_could_not_be_forgotten_still_has_its_record(
    environment: Environment, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The record goes last, so that the same command finds the environment again."""
    names = {"the machine": "machine", "the control store": "control", "the receipts": "receipts"}
    (environment.folder / "machine").mkdir()
    (environment.folder / "receipts").mkdir()
    environment.keep_password("ada", "secret")
    rmtree, unlink = shutil.rmtree, Path.unlink

    def failing_rmtree(path: Path, **more: object) -> None:
        if Path(path).name == names.get(what):
            raise PermissionError(13, "Permission denied", str(path))
        rmtree(path, **more)  # type: ignore[call-overload]

    def failing_unlink(path: Path, missing_ok: bool = False) -> None:
        if what == "a file" and path.name == "credentials.json":
            raise PermissionError(13, "Permission denied", str(path))
        unlink(path, missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", failing_rmtree)
        patched.setattr(Path, "unlink", failing_unlink)
        with pytest.raises(PermissionError):
            environment.forget()
    assert environment.record() is not None
    environment.forget()
    assert environment.record() is None


def test_receipts_are_kept_by_their_time(environment: Environment) -> None:
    kept = environment.keep_receipt("{}\n", NOON)
    assert kept.name == "20261120T120000Z.json"
    assert kept.read_text() == "{}\n"


def test_the_address_is_the_recorded_one() -> None:
    assert deployed("local", "ada", port=9000).url == "http://127.0.0.1:9000"
