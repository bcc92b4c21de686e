"""What an MLflow client needs, in every shell, whatever the values hold."""

import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackstack.environment import Environment
from trackstack.errors import UsageError
from trackstack.operations import users
from trackstack.operations.env import SHELLS, as_shell, client_variables, write_dotenv

HOSTILE = {
    "SINGLE": "it's",
    "DOUBLE": 'say "x"',
    "DOLLAR": "$HOME ${HOME} $(id) `id`",
    "BACK": r"a\b\\c\'d\n",
    "LINES": "one\ntwo\n",
    "SPACES": "  two  ends  ",
    "GLOB": "* ? [a] ~ ! # & | ; < > % ^ ( ) { }",
    "WORDS": "Grüße \u2018quoted\u2019 \u201clong\u201d \u201alow\u201b 🙂",
    "EMPTY": "",
    "URL": "http://127.0.0.1:8080/?a=b&c=d",
}
PRINT = "import os, sys; sys.stdout.write(repr({k: os.environ.get(k) for k in sys.argv[1:]}))"


def nobody_asks(user: str) -> str:
    raise AssertionError(f"the password of {user} was asked for")


def evaluated(shell: str, lines: str, names: list[str]) -> dict[str, str]:
    """What a process started after the lines finds in its environment."""
    words = " ".join([f"'{sys.executable}'", "-c", f"'{PRINT}'", *names])
    programs = {
        "bash": ["bash", "--norc", "-c", f'eval "$1"; {words}', "bash", lines],
        "fish": ["fish", "--no-config", "-c", f"{lines}\n{words}"],
        "powershell": ["pwsh", "-NoProfile", "-Command", f"{lines}\n& {words}"],
        "python": [sys.executable, "-c", f"{lines}\nimport sys\nsys.argv[1:] = {names!r}\n{PRINT}"],
    }
    done = subprocess.run(programs[shell], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(eval(done.stdout))  # noqa: S307  printed by repr, two lines above


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_takes_every_value_up_as_it_is(shell: str) -> None:
    program = {"powershell": "pwsh", "python": sys.executable}.get(shell, shell)
    if shutil.which(program) is None:
        why = ": Debian has no package of it" if program == "pwsh" else ""
        pytest.skip(f"{program} is not installed{why}")
    assert evaluated(shell, as_shell(HOSTILE, shell), list(HOSTILE)) == HOSTILE


def test_fish_needs_only_quotes_and_backslashes_escaped() -> None:
    """fish's manual: in single quotes, only \\' and \\\\ mean something else than they are."""
    (line,) = as_shell({"X": r"a'b\c$HOME"}, "fish").splitlines()
    assert line == r"set -gx X 'a\'b\\c$HOME'"


@pytest.mark.parametrize("quote", list("'\u2018\u2019\u201a\u201b"))
def test_powershell_needs_every_kind_of_single_quote_doubled(quote: str) -> None:
    """PowerShell takes typographic single quotes for the plain one."""
    (line,) = as_shell({"X": f"a{quote}; Remove-Item x"}, "powershell").splitlines()
    assert line == f"$env:X = 'a{quote}{quote}; Remove-Item x'"


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30))
@settings(max_examples=100)
def test_python_takes_any_value_up_as_it_is(value: str) -> None:
    found: dict[str, dict[str, str]] = {}
    lines = as_shell({"X": value}, "python").replace("os.environ", "found")
    exec(lines, {"found": found})  # noqa: S102  that is what the lines are for
    assert found == {"X": value}


def test_the_variables_of_the_owner_need_no_question(environment: Environment) -> None:
    variables = client_variables(environment, None, nobody_asks)
    assert variables == {
        "MLFLOW_TRACKING_URI": environment.url,
        "MLFLOW_TRACKING_USERNAME": "ada",
        "MLFLOW_TRACKING_PASSWORD": environment.password("ada"),
        "LOGNAME": "ada",
    }


def test_a_password_this_computer_does_not_know_is_asked_for(environment: Environment) -> None:
    (login,) = users.add(environment, ["bob"])
    asked: list[str] = []

    def ask(user: str) -> str:
        asked.append(user)
        return login.password

    variables = client_variables(environment, "bob", ask)
    assert asked == ["bob"]
    assert variables["MLFLOW_TRACKING_USERNAME"] == variables["LOGNAME"] == "bob"
    assert variables["MLFLOW_TRACKING_PASSWORD"] == login.password


def test_a_kept_password_that_was_rotated_elsewhere_is_asked_for(environment: Environment) -> None:
    old = environment.password("ada")
    (login,) = users.rotate(environment, ["ada"])
    environment.keep_password("ada", str(old))
    variables = client_variables(environment, None, lambda _: login.password)
    assert variables["MLFLOW_TRACKING_PASSWORD"] == login.password


def test_a_wrong_answer_is_refused_and_not_repeated(environment: Environment) -> None:
    users.add(environment, ["bob"])
    with pytest.raises(UsageError, match="not the password of 'bob'") as refused:
        client_variables(environment, "bob", lambda _: "my bank's PIN")
    assert "PIN" not in refused.value.sentence


def test_nobody_is_asked_for_the_password_of_an_unknown_user(environment: Environment) -> None:
    with pytest.raises(UsageError, match="no user 'eve'"):
        client_variables(environment, "eve", nobody_asks)


def test_without_a_kept_password_it_must_be_said_whose(environment: Environment) -> None:
    environment.forget_password()
    with pytest.raises(UsageError, match="keeps no password") as refused:
        client_variables(environment, None, nobody_asks)
    assert "trackstack env NAME" in (refused.value.hint or "")


def test_a_dotenv_file_is_for_its_owner_only_and_is_read_by_bash_as_well(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    plain = {"A": "http://127.0.0.1:8080", "B": "ada.l@example.com", "C": "two words"}
    write_dotenv(plain, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    lines = f"set -a; . '{file}'"
    assert evaluated("bash", lines, list(plain)) == plain


def test_a_dotenv_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        write_dotenv({"A": "b"}, tmp_path / "file" / ".env")


def test_a_relative_dotenv_file_lands_in_this_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_dotenv({"A": "b"}, Path(".env"))
    assert (tmp_path / ".env").is_file()
