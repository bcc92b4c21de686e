"""New passwords are in their file as soon as they let somebody in, however the deploy ends."""

from collections.abc import Callable
from pathlib import Path

import pytest

from trackstack import credentials
from trackstack.control.base import read
from trackstack.desired import Users
from trackstack.environment import Environment
from trackstack.errors import NotProvenError
from trackstack.operations import deploy as deploying
from trackstack.targets.local import Local
from unit.conftest import Called


@pytest.mark.usefixtures("home")
def test_a_deploy_that_fails_on_the_machine_has_written_them(
    command: Callable[..., Called], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails(*_: object) -> None:
        raise NotProvenError("The machine's step 'mlflow' failed.")

    monkeypatch.setattr(Local, "check", lambda *_: None)
    monkeypatch.setattr(Local, "start", lambda _: None)
    monkeypatch.setattr(deploying, "_wait", fails)
    file = tmp_path / "passwords.txt"
    words = ("deploy", "local", "--user", "ada", "--user", "bob", "--password-file", file)
    done = command(*words)
    assert done.code == NotProvenError.exit_code, done.err
    written = dict(line.split(":") for line in file.read_text().splitlines())
    users, _ = read(Environment("local").target.store, Users)
    assert users is not None
    assert set(written) == set(users.users) == {"ada", "bob"}
    for name, password in written.items():
        assert credentials.matches(password, users.users[name].hash)
    again = command(*words)
    assert again.code == NotProvenError.exit_code
    assert file.read_text() == "".join(f"{n}:{p}\n" for n, p in written.items())
