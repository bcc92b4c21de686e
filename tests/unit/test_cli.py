"""The command line where no server is needed: help, usage errors, and what is said of a stopped
environment, to a person and as JSON."""

import json
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from trackstack import __version__
from trackstack.control.base import read
from trackstack.credentials import matches
from trackstack.desired import Users
from trackstack.environment import Environment
from unit.making import Called, deployed

Command = Callable[..., Called]

HELP_OF_ALL = """
import sys, json
from typer.main import get_command
from typer.testing import CliRunner
from trackstack.cli import app

def paths(command, path=()):
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from paths(inner, (*path, name))

found = {}
for path in paths(get_command(app)):
    result = CliRunner().invoke(app, [*path, "--help"])
    found[" ".join(path)] = [result.exit_code, result.output]
slow = {"pulumi", "httpx", "mlflow", "boto3", "google", "yaml", "psutil", "inotify_simple"}
print(json.dumps({"found": found, "imported": sorted(slow & set(sys.modules))}))
"""
COMMANDS = [
    "", "deploy", "deploy local", "deploy aws", "deploy gcp", "deploy compose", "plan",
    "plan local", "plan compose", "plan aws", "plan gcp", "allow", "allow list", "allow add",
    "allow remove", "attach", "unlock", "policy", "list", "status", "open", "logs", "env",
    "models", "models serve", "models list", "models stop", "models logs",
    "users", "users add", "users rotate", "users remove", "users list", "users import", "verify",
    "render", "run", "notebook", "doctor", "destroy",
]  # fmt: skip


@pytest.mark.parametrize(
    ("module", "slow"),
    [
        (
            "trackstack.environment",
            {"cryptography", "jinja2", "boto3", "google", "pulumi", "rich"},
        ),
        # Each start of a service waits for it.
        ("trackstack.agent.processes", {"pydantic", "boto3", "google", "inotify_simple"}),
    ],
)
def test_what_starts_often_brings_along_only_what_it_needs(module: str, slow: set[str]) -> None:
    program = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert slow.isdisjoint(done.stdout.split())


def test_help_of_every_command_is_there_and_needs_no_slow_module() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELP_OF_ALL], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told["found"]) == set(COMMANDS), "a command is not listed in this test, or is gone"
    for command, (code, text) in told["found"].items():
        assert code == 0, command
        assert "Usage:" in text, command
    assert told["imported"] == []


def test_help_may_be_asked_for_in_short(command: Command) -> None:
    assert command("users", "add", "-h") == command("users", "add", "--help")
    assert "Usage: trackstack" in command("-h").out


def test_the_version_is_the_kits(command: Command) -> None:
    assert command("--version") == Called(0, f"{__version__}\n", "")


WRONG = [
    ["sing"],
    ["deploy", "moon"],
    ["deploy", "local", "--prot", "1"],
    ["deploy", "local", "--port", "80"],
    ["deploy", "local", "--port", "many"],
    ["deploy", "local", "--workers", "0"],
    ["deploy", "local", "--user", "Ada L"],
    ["deploy", "local", "-e", "Team_A"],
    ["plan", "local", "--mlflow", "newest"],
    ["plan", "local", "-f", "no-such-file.yaml"],
    ["logs", "apache"],
    ["env", "--shell", "tcsh"],
    ["env", "trackstack.verify"],
    ["users", "add"],
    ["users", "add", "bob"],  # without a terminal nobody would see the password
    ["users", "rotate", "ada"],
    ["users", "add", "bob", "--show-passwords", "--expires", "2020-01-01"],
    ["users", "add", "bob", "--show-passwords", "--expires", "tomorrow"],
    ["users", "add", "ada", "--show-passwords"],
    ["users", "remove", "eve"],
    ["status", "-e", "other"],
    ["destroy"],
    ["destroy", "--purge", "--yes"],
    ["destroy", "--confirm", "other"],
    ["render"],
]


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_wrong_usage_ends_with_2_and_changes_nothing(
    command: Command, environment: Environment, arguments: list[str]
) -> None:
    def everything() -> dict[str, bytes]:
        files = (file for file in environment.folder.rglob("*") if file.is_file())
        return {str(file): file.read_bytes() for file in files}

    before = everything()
    called = command(*arguments)
    assert called.code == 2, called.err
    assert called.out == ""
    assert called.err
    assert "Traceback" not in called.err
    assert everything() == before


NAMING = [
    (["users", "add", "bob"], ["--password-file FILE", "--show-passwords"]),
    (["destroy"], ["--yes"]),
    (["destroy", "--purge"], ["--confirm local"]),
    (["destroy", "--purge", "--yes"], ["--confirm local"]),
    (["deploy", "local", "-e", "Team_A"], ["'Team_A'", "team-a"]),
]


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(("arguments", "named"), NAMING, ids=" ".join)
def test_a_usage_error_names_the_flag_or_the_value_that_would_do(
    command: Command, arguments: list[str], named: list[str]
) -> None:
    told = command(*arguments).err
    for words in named:
        assert words in told


@pytest.mark.parametrize("name", ["status", "open", "env", "logs", "verify"])
def test_without_an_environment_it_is_said_how_to_make_one(command: Command, name: str) -> None:
    called = command(name)
    assert called.code == 2
    assert called.err == (
        "error: There is no environment yet.\n  `trackstack deploy local` makes one.\n"
    )


def test_the_environment_may_come_from_a_variable_and_a_flag_goes_first(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed("team-a", "ada", port=9001)
    deployed("team-b", "ada", port=9002)
    monkeypatch.setenv("TRACKSTACK_ENVIRONMENT", "team-b")
    assert command("open").out == "http://127.0.0.1:9002\n"
    assert command("open", "-e", "team-a").out == "http://127.0.0.1:9001\n"


def test_a_variable_goes_before_the_spec_file_and_a_flag_before_the_variable(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text("server: {port: 9001, workers: 3}\n")
    monkeypatch.setenv("TRACKSTACK_PORT", "9002")

    def port(*flags: str) -> int:
        told = json.loads(command("plan", "local", "-f", file, "--json", *flags).out)
        return int(told["plan"]["nginx"]["port"])

    assert port() == 9002
    assert port("--port", "9003") == 9003


def test_a_plan_of_something_new_lists_what_would_be_made(command: Command, home: Path) -> None:
    called = command("plan", "local", "--user", "ada", "--port", "9000")
    assert called.code == 0
    assert called.out.startswith("NEW environment 'local' on this computer:\n")
    assert "+ nginx.port" in called.out
    assert "9000" in called.out
    assert "pinned with hashes" in called.out
    assert not home.exists()


@pytest.mark.usefixtures("environment")
def test_a_plan_of_a_change_lists_before_and_after(command: Command) -> None:
    called = command("plan", "local", "--port", "9000", "--detailed-exitcode")
    assert called.code == 6
    assert called.out.startswith("CHANGE of environment 'local' on this computer:\n")
    lines = [line.split() for line in called.out.splitlines()]
    assert ["~", "nginx.port", "8080", "->", "9000"] in lines


@pytest.mark.usefixtures("environment")
def test_a_plan_of_nothing_says_so(command: Command) -> None:
    called = command("plan", "local", "--detailed-exitcode")
    assert called == Called(0, "Nothing would change in environment 'local'.\n", "")


def test_a_plan_as_json_is_one_document(command: Command) -> None:
    told = json.loads(command("plan", "local", "--json").out)
    assert set(told) == {"environment", "exists", "changes", "left_behind", "plan"}
    assert told["exists"] is False
    assert isinstance(told["plan"]["packages"], int)


def test_the_list_is_empty_at_first(command: Command) -> None:
    assert command("list").out == (
        "There is no environment yet; `trackstack deploy local` makes one.\n"
    )
    assert command("list", "--json").out == "[]\n"


def test_the_list_shows_each_environment_and_one_that_cannot_be_read(command: Command) -> None:
    deployed("team-a", "ada", port=9001)
    broken = deployed("team-b", "ada")
    (broken.folder / "record.json").write_text("{")
    first, second = command("list").out.splitlines()
    assert first.split() == ["team-a", "stopped", "local", "http://127.0.0.1:9001"]
    assert second.startswith("team-b           unreadable The record ")
    listed = json.loads(command("list", "--json").out)
    assert {each["environment"]: each["state"] for each in listed} == {
        "team-a": "stopped",
        "team-b": "unreadable",
    }


@pytest.mark.usefixtures("environment")
def test_the_status_of_a_stopped_environment_ends_with_3(command: Command) -> None:
    called = command("status")
    assert called.code == 3
    lines = dict(line.split(maxsplit=1) for line in called.out.splitlines())
    assert lines["state"] == "stopped"
    assert lines["address"] == "http://127.0.0.1:8080"
    assert lines["users"] == "1"
    as_json = command("status", "--json")
    assert as_json.code == 3
    assert json.loads(as_json.out)["state"] == "stopped"


def test_an_environment_destroyed_twice_is_fine_and_its_status_says_removed(
    command: Command, environment: Environment
) -> None:
    first = command("destroy", "--yes")
    assert first.code == 0
    assert f"Its data is kept in {environment.folder}." in first.out
    assert "deploy local -e local" in first.out
    assert "destroy --purge -e local" in first.out
    assert command("destroy", "--yes").code == 0
    status = command("status")
    assert status.code == 0
    assert "removed" in status.out
    assert environment.password("ada") is not None


def test_a_purge_leaves_nothing_and_twice_is_fine(
    command: Command, environment: Environment
) -> None:
    called = command("destroy", "--purge", "--confirm", "local")
    assert called == Called(0, "Environment 'local' is gone, and all it stored.\n", "")
    assert not environment.folder.exists()
    again = command("destroy", "--purge", "--confirm", "local", "-e", "local")
    assert again.code == 0
    assert "nothing to destroy" in again.out


def test_a_protected_environment_is_not_destroyed(command: Command) -> None:
    made = deployed("local", "ada")
    record = made.existing_record()
    made.write_record(
        record.model_copy(update={"spec": record.spec.model_copy(update={"protected": True})})
    )
    called = command("destroy", "--purge", "--confirm", "local")
    assert called.code == 2
    assert "protected" in called.err
    assert made.exists


@pytest.mark.usefixtures("environment")
def test_a_log_that_is_not_there_yet_is_told(command: Command) -> None:
    called = command("logs", "nginx")
    assert called.code == 1
    assert called.err == "error: nginx has not written a log yet.\n"


def test_a_log_is_printed_whole_without_waiting(command: Command, environment: Environment) -> None:
    log = environment.folder / "machine" / "logs" / "mlflow.log"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"one\ntw\xff\nno end")
    assert command("logs").out == "one\ntw\ufffd\nno end\n"


def test_a_new_password_is_shown_where_a_flag_says_so(
    command: Command, environment: Environment
) -> None:
    called = command("users", "add", "bob", "--show-passwords")
    name, password = called.out.splitlines()[-1].split()
    document, _ = read(environment.target.store, Users)
    assert name == "bob"
    assert document is not None
    assert matches(password, document.users["bob"].hash)


def test_a_new_password_goes_into_a_file_for_this_account_only(
    command: Command, environment: Environment, tmp_path: Path
) -> None:
    file = tmp_path / "passwords"
    called = command("users", "rotate", "ada", "--password-file", file)
    assert called.code == 0
    assert file.read_text() == f"ada:{environment.password('ada')}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert str(environment.password("ada")) not in called.out + called.err


@pytest.mark.usefixtures("environment")
def test_json_holds_a_password_only_where_a_flag_says_so(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "passwords"
    hidden = command("users", "add", "bob", "--password-file", file, "--json")
    assert json.loads(hidden.out) == [{"user": "bob"}]
    shown = json.loads(command("users", "add", "eve", "--show-passwords", "--json").out)
    assert set(shown[0]) == {"user", "password"}


@pytest.mark.usefixtures("environment")
def test_who_may_enter_is_listed(command: Command) -> None:
    command("users", "add", "bob", "--show-passwords", "--expires", "2099-01-02")
    header, ada, bob = (line.split() for line in command("users", "list").out.splitlines())
    assert header == ["user", "created", "rotated", "last", "seen", "expires"]
    assert (ada[0], ada[-1]) == ("ada", "never")
    assert (bob[0], bob[-2:]) == ("bob", ["2099-01-02", "00:00"])
    listed = json.loads(command("users", "list", "--json").out)
    assert [each["user"] for each in listed] == ["ada", "bob"]
    assert command("users", "remove", "bob").out == "Removed bob.\n"
    assert json.loads(command("users", "remove", "ada", "--json").out) == {"removed": ["ada"]}


def test_the_lines_for_a_client_are_all_that_env_prints(
    command: Command, environment: Environment
) -> None:
    called = command("env")
    assert called.err == ""
    assert all(line.startswith("export ") for line in called.out.splitlines())
    assert f"MLFLOW_TRACKING_PASSWORD={environment.password('ada')}" in called.out
    as_json = json.loads(command("env", "--json").out)
    assert as_json["MLFLOW_TRACKING_URI"] == environment.url


@pytest.mark.usefixtures("environment")
def test_env_writes_a_file_where_told_and_prints_no_password(
    command: Command, tmp_path: Path
) -> None:
    called = command("env", "--dotenv", tmp_path / ".env")
    assert called.out == ""
    assert "PASSWORD" not in called.err
    assert "MLFLOW_TRACKING_PASSWORD=" in (tmp_path / ".env").read_text()


def test_verify_of_a_stopped_environment_says_how_to_start_it(
    command: Command, environment: Environment
) -> None:
    assert environment.exists
    called = command("verify")
    assert called.code == 3
    assert "trackstack deploy local -e local" in called.err


def test_render_prints_what_it_wrote(command: Command, tmp_path: Path) -> None:
    called = command("render", tmp_path / "out", "--json")
    files = json.loads(called.out)["files"]
    assert files
    assert all(Path(file).is_file() for file in files)
    assert command("render", tmp_path / "more").out.splitlines() == [
        file.replace("/out/", "/more/") for file in files
    ]


def test_an_address_is_said_without_a_browser_where_there_is_no_terminal(
    command: Command, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webbrowser.open", lambda _: pytest.fail("a browser was opened"))
    assert command("open").out == f"{environment.url}\n"
    assert json.loads(command("open", "--json").out) == {"url": environment.url}


def test_what_is_on_this_computer_cannot_be_attached(
    command: Command, environment: Environment
) -> None:
    called = command("attach", environment.name)
    assert called.code == 2
    assert called.err.startswith(
        f"error: Environment {environment.name!r} is on this computer already, and in no cloud.\n"
    )


def test_of_several_environments_a_deploy_must_name_one(command: Command) -> None:
    deployed("team-a", "ada")
    deployed("team-b", "ada")
    called = command("plan", "local")
    assert called.code == 2
    assert "team-a, team-b" in called.err


def test_a_spec_file_names_the_environment_it_is_for(command: Command, tmp_path: Path) -> None:
    deployed("team-a", "ada")
    file = tmp_path / "spec.yaml"
    file.write_text("environment: team-b\n")
    assert "environment 'team-b'" in command("plan", "local", "-f", file).out
