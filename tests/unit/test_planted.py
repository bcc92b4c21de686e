"""A secret planted in every input is found in no output and in no file but where it belongs."""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from trackstack import lock
from trackstack.control.base import read
from trackstack.desired import Users
from trackstack.environment import Environment
from trackstack.operations.deploy import _write_desired
from trackstack.operations.plan import intend
from unit import making
from unit.making import Called

Command = Callable[..., Called]

DATABASE = "planted database/word'$x"
KEYS = {
    name: f"planted-{name.lower()}"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
}
IMPORTED = "planted-imported"
ASKED = "planted-asked-for"
STORES = {"database": "postgresql://mlflow@db.example.com/runs", "artifacts": "s3://runs"}

COMMANDS = [
    *(["list"], ["status"], ["open"], ["users", "list"], ["plan", "local"], ["doctor"], ["verify"]),
    ["plan", "local", "--workers", "3"],
    ["render", "rendered"],
    ["users", "remove", "gone"],
    ["users", "add", "ada", "--show-passwords"],
    ["users", "add", "bob", "--password-file", "passwords"],
    ["users", "add", "eve", "--password-file", "missing\0/file"],
    ["users", "import", "htpasswd"],
    ["users", "import", "htpasswd"],
    ["users", "import", "wrong-htpasswd"],
    ["env", "bob"],
    ["deploy", "local", "-f", "wrong-spec.yaml"],
    ["plan", "local", "--database", f"postgresql://mlflow:{ASKED}@db.example.com/runs"],
    ["plan", "local", "--database", f"postgresql://mlflow@db.example.com/runs?password={ASKED}"],
    ["logs", "agent"],
    ["destroy"],
    ["destroy", "--yes"],
]


@dataclass
class Planted:
    """An environment with secrets in it, and what its commands said."""

    environment: Environment
    said: dict[str, str] = field(default_factory=dict)

    def secrets(self) -> dict[str, str]:
        """Each by its name."""
        kept = {"the owner's password": str(self.environment.password("ada"))}
        bobs = Path("passwords").read_text().strip().removeprefix("bob:")
        users, _ = read(self.environment.target.store, Users)
        assert users is not None
        hashes = {f"{name}'s hash": user.hash for name, user in users.users.items()}
        return {
            "the database's password": DATABASE,
            **KEYS,
            **kept,
            **hashes,
            "bob's password": bobs,
            "an imported password": IMPORTED,
            "one in an address": ASKED,
        }


@pytest.fixture
def planted(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Planted:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lock, "for_mlflow", lambda *_: making.LOCK)
    for name, value in {**KEYS, "PGPASSWORD": DATABASE}.items():
        monkeypatch.setenv(name, value)
    Path("htpasswd").write_text(f"imported:{{PLAIN}}{IMPORTED}\n")
    Path("wrong-htpasswd").write_text(f"other:{{ODD}}{IMPORTED}\n")
    Path("wrong-spec.yaml").write_text(
        f"stores: {{database: 'postgresql://mlflow:{ASKED}@db.example.com/runs'}}\n"
    )
    made = Environment("local")
    _write_desired(made, intend(made, "local", {"stores": STORES, "users": ["ada"]}))
    # Another shell, in which they are no longer set.
    for name in (*KEYS, "PGPASSWORD"):
        monkeypatch.delenv(name)
    found = Planted(made)
    for arguments in COMMANDS:
        for more in ([], ["--json"]):
            called = command(*arguments, *more)
            assert "has a bug" not in called.err, called.err
            found.said[" ".join([*arguments, *more])] = called.out + called.err
    return found


def test_no_command_says_a_secret(planted: Planted) -> None:
    said = [
        (command, name)
        for command, text in planted.said.items()
        for name, secret in planted.secrets().items()
        if secret in text and not (name == "one in an address" and secret in command)
    ]
    assert said == []


def test_an_address_with_a_password_is_refused_without_repeating_it(planted: Planted) -> None:
    refusals = [text for command, text in planted.said.items() if ASKED in command]
    assert len(refusals) == 4
    assert [text for text in refusals if ASKED in text or "PGPASSWORD" not in text] == []


ALLOWED = {
    "the database's password": set(),  # the file that holds it quotes it
    **{name: {"machine/data/stores.env"} for name in KEYS},
    "the owner's password": {"credentials.json"},
    # This one is its own hash, of which its owner was warned.
    "an imported password": {"control/desired/users.json"},
    "bob's password": set(),
    "one in an address": set(),
}


def test_every_secret_lies_where_it_belongs_only(planted: Planted, home: Path) -> None:
    folder = planted.environment.folder
    places: dict[str, set[str]] = {}
    for name, secret in planted.secrets().items():
        places[name] = {
            os.path.relpath(file, folder)
            for file in (*home.rglob("*"), *Path("rendered").rglob("*"))
            if file.is_file() and secret.encode() in file.read_bytes()
        }
    hashes = {name: places.pop(name) for name in list(places) if name.endswith("hash")}
    assert places == ALLOWED
    assert set().union(*hashes.values()) == {"control/desired/users.json"}
    assert "planted database" in (folder / "machine/data/stores.env").read_text()


def test_everything_at_home_is_for_this_account_only(planted: Planted, home: Path) -> None:
    modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in (home, *home.rglob("*"))}
    assert planted.environment.exists
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}
    assert stat.S_IMODE(Path("passwords").stat().st_mode) == 0o600
