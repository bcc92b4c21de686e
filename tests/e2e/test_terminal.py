"""What a person sees at a terminal, and what a program gets that has none."""

import hashlib
import sys

import pytest
from servers import ADA, OWNER, Server, passwords_in

from kits import COMMAND

# Python warns of it wherever a test process has threads; what is run replaces the process at once.
pytestmark = pytest.mark.filterwarnings("ignore:.*forkpty:DeprecationWarning")


def test_the_first_deploy_shows_the_owner_s_password_once(deployed: tuple[Server, str]) -> None:
    _, shown = deployed
    assert len(passwords_in(shown)) == 1
    assert f"  {OWNER}  {passwords_in(shown)[0]}" in shown


def test_the_first_deploy_says_how_a_client_connects(deployed: tuple[Server, str]) -> None:
    server, shown = deployed
    assert f"MLflow is at {server.url}" in shown
    assert 'env -e local)"' in shown


def test_a_new_user_s_password_is_shown_once_and_lets_in(server: Server) -> None:
    terminal = server.at_terminal("users", "add", "shown")
    shown = str(terminal.read())
    (password,) = passwords_in(shown)
    assert server.status_for("shown", password) == 200


def test_eval_of_env_asks_for_the_password_and_sets_what_a_client_needs(
    server: Server, ada: str
) -> None:
    script = f'eval "$("$1" env {ADA})" && "$2" -c "$3"'
    ask = (
        "import hashlib, os, httpx; e = os.environ;"
        "p = e['MLFLOW_TRACKING_PASSWORD'];"
        "a = httpx.get(e['MLFLOW_TRACKING_URI'] + '/version',"
        "  auth=(e['MLFLOW_TRACKING_USERNAME'], p));"
        "print(a.status_code, e['LOGNAME'], hashlib.sha256(p.encode()).hexdigest())"
    )
    terminal = server.spawn("/bin/bash", "-c", script, "bash", str(COMMAND), sys.executable, ask)
    terminal.expect_exact(f"Password of {ADA}: ")
    terminal.sendline(ada)
    assert str(terminal.read()).split() == ["200", ADA, hashlib.sha256(ada.encode()).hexdigest()]


def test_a_wrong_password_at_the_terminal_is_refused(server: Server, ada: str) -> None:
    terminal = server.at_terminal("env", ADA)
    terminal.expect_exact(f"Password of {ADA}: ")
    terminal.sendline(f"{ada}x")
    shown = str(terminal.read())
    terminal.close()
    assert terminal.exitstatus == 2
    assert f"That is not the password of '{ADA}'" in shown
    assert "export" not in shown


@pytest.mark.usefixtures("ada")
def test_env_without_a_terminal_never_invents_a_password(server: Server) -> None:
    done = server.run("env", ADA, ok=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no terminal" in done.stderr


def test_a_user_whose_password_nobody_would_see_is_not_added(server: Server) -> None:
    done = server.run("users", "add", "unseen", ok=False)
    assert (done.returncode, "--password-file" in done.stderr) == (2, True)
    assert "unseen" not in server.run("users", "list").stdout


@pytest.mark.usefixtures("ada")
def test_a_rotation_that_nobody_would_see_is_refused(server: Server, ada: str) -> None:
    done = server.run("users", "rotate", ADA, ok=False)
    assert done.returncode == 2
    assert server.status_for(ADA, ada) == 200


def test_a_password_file_holds_the_password_and_is_for_its_owner_only(server: Server) -> None:
    file = server.account.parent / "passwords.txt"
    done = server.run("users", "add", "filed", "--password-file", file)
    name, _, password = file.read_text().strip().partition(":")
    assert server.status_for(name, password) == 200
    assert password not in done.stdout + done.stderr
    assert file.stat().st_mode & 0o777 == 0o600


def test_with_json_no_password_is_printed_unless_asked_for(server: Server) -> None:
    file = server.account.parent / "passwords-beside-json.txt"
    told = server.json("users", "add", "quiet", "--password-file", file)
    assert told == [{"user": "quiet"}]
