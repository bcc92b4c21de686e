"""What a teammate gets who has neither the kit nor a cloud account: all but the password."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from trackstack.desired import AUTHORITIES_KEY
from trackstack.environment import Environment
from trackstack.operations import users
from trackstack.operations.invite import invitation
from unit import golden
from unit.making import Called, deployed

AUTHORITY = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
Command = Callable[..., Called]


@pytest.fixture
def exposed() -> Environment:
    """An environment that others reach, whose machine has told its authority."""
    made = deployed("team-a", "ada", listen="192.168.1.20", hostnames=["mlflow.example.com"])
    made.target.store.put(AUTHORITIES_KEY, AUTHORITY, expect=None)
    return made


def blocks(text: str) -> list[str]:
    """What stands between the fences."""
    return re.findall(r"(?ms)^```\w*\n(.*?)^```$", text)


def test_an_invitation_is_the_golden_one(exposed: Environment) -> None:
    golden.compare("invite", {"with-certificate.txt": invitation(exposed, "bob@example.com")})


def test_an_invitation_to_a_server_on_this_computer_speaks_of_no_certificate(
    environment: Environment,
) -> None:
    text = invitation(environment, "bob")
    assert "certificate" not in text.lower()
    assert "CERT_PATH" not in text
    assert environment.url in text


@pytest.mark.parametrize("tls", ["own", "none"])
def test_a_shell_takes_up_what_an_invitation_says(
    request: pytest.FixtureRequest, tmp_path: Path, tls: str
) -> None:
    environment = request.getfixturevalue("exposed" if tls == "own" else "environment")
    (shell,) = (each for each in blocks(invitation(environment, "b+o@x.y")) if "export" in each)
    done = subprocess.run(
        ["bash", "-euc", f"{shell}\nenv -0"],
        input="her pass'word\n",
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    got = dict(
        line.split("=", 1) for line in done.stdout.removeprefix("Password: ").split("\0")[:-1]
    )
    assert got["MLFLOW_TRACKING_URI"] == environment.url
    assert got["MLFLOW_TRACKING_USERNAME"] == got["LOGNAME"] == "b+o@x.y"
    assert got["MLFLOW_TRACKING_PASSWORD"] == "her pass'word"
    file = str(tmp_path / "trackstack-team-a-ca.pem")
    assert got.get("MLFLOW_TRACKING_SERVER_CERT_PATH") == (file if tls == "own" else None)


def test_a_notebook_takes_up_what_an_invitation_says(
    exposed: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = (each for each in blocks(invitation(exposed, "bob")) if "os.environ" in each)
    got: dict[str, str] = {}
    monkeypatch.setattr("os.environ", got)
    monkeypatch.setattr("getpass.getpass", lambda _: "her password")
    exec(compile(code, "invitation", "exec"), {})  # noqa: S102  it is the kit's own
    assert got.pop("MLFLOW_TRACKING_SERVER_CERT_PATH").endswith("/trackstack-team-a-ca.pem")
    assert got == {
        "MLFLOW_TRACKING_URI": "https://mlflow.example.com:8080",
        "MLFLOW_TRACKING_USERNAME": "bob",
        "MLFLOW_TRACKING_PASSWORD": "her password",
        "LOGNAME": "bob",
    }


def test_the_three_ways_name_the_same_variables(exposed: Environment) -> None:
    found = [
        set(re.findall(r"MLFLOW_\w+|LOGNAME", each)) for each in blocks(invitation(exposed, "b"))
    ]
    ways = [each for each in found if each]
    assert len(ways) == 3
    assert ways[0] == ways[1] == ways[2]


def test_the_certificate_stands_in_it_to_the_letter(exposed: Environment) -> None:
    assert AUTHORITY.decode() in blocks(invitation(exposed, "bob"))


def test_no_password_stands_in_an_invitation(
    command: Command, exposed: Environment, tmp_path: Path
) -> None:
    file = tmp_path / "bob.md"
    called = command("users", "add", "bob", "--invite", file, "--show-passwords", "-e", "team-a")
    assert called.code == 0, called.err
    password = called.out.split()[-1]
    assert str(file) in called.err
    assert "another way" in called.err
    text = file.read_text()
    assert text == invitation(exposed, "bob")
    for secret in (password, str(exposed.password("ada"))):
        assert len(secret) == 24
        assert secret not in text


def test_a_file_that_cannot_be_written_is_told_before_anybody_is_let_in(
    command: Command, environment: Environment, tmp_path: Path
) -> None:
    file = tmp_path / "no" / "bob.md"
    called = command("users", "add", "bob", "--invite", file, "--show-passwords")
    assert called.code == 2
    assert f"{file} cannot be written" in called.err
    assert set(users.people(environment)) == {"ada"}


def test_an_invitation_is_for_one(
    command: Command, environment: Environment, tmp_path: Path
) -> None:
    file = tmp_path / "both.md"
    called = command("users", "add", "bob", "eve", "--invite", file, "--show-passwords")
    assert (called.code, file.exists()) == (2, False)
    assert "one person" in called.err
    assert set(users.people(environment)) == {"ada"}


def test_a_wrong_expiry_leaves_no_invitation(
    command: Command, environment: Environment, tmp_path: Path
) -> None:
    file = tmp_path / "bob.md"
    called = command(
        "users", "add", "bob", "--invite", file, "--show-passwords", "--expires", "2020-01-01"
    )
    assert (called.code, file.exists()) == (2, False)
    assert set(users.people(environment)) == {"ada"}
