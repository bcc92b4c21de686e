"""Control-C before any effect on a file: nothing is half done, and the next command works."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trackstack.control.base import read
from trackstack.credentials import matches
from trackstack.desired import Users
from trackstack.environment import Environment
from unit.making import Called

Command = Callable[..., Called]

COMMANDS = {
    "users add": ["users", "add", "bob", "--show-passwords"],
    "users rotate": ["users", "rotate", "ada", "--show-passwords"],
    "users remove": ["users", "remove", "grace"],
    "destroy": ["destroy", "--yes"],
    "destroy --purge": ["destroy", "--purge", "--confirm", "local", "-e", "local"],
}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_EFFECTS = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "tempfile.mkstemp"}


class _Interrupter:
    """Interrupts before one of the effects below a folder; counts them otherwise.

    Attributes:
        left: effects until then; None while nothing is watched.
    """

    left: int | None = None
    folder = ""

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.left is None or not self._is_effect(event, arguments):
            return
        self.left -= 1
        if self.left < 0:
            self.left = None
            raise KeyboardInterrupt

    def _is_effect(self, event: str, arguments: tuple[object, ...]) -> bool:
        writes = event == "open" and bool(int(str(arguments[2])) & _WRITING)
        here = any(str(word).startswith(self.folder) for word in arguments)
        return here and (writes or event in _EFFECTS)


_interrupter = _Interrupter()
# It stays for as long as this process lives, and does nothing unless it is told to.
sys.addaudithook(_interrupter)


@contextmanager
def interrupted_before(effect: int, folder: Path) -> Iterator[None]:
    _interrupter.folder, _interrupter.left = str(folder), effect
    try:
        yield
    finally:
        _interrupter.left = None


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_control_c_leaves_nothing_half_done(
    command: Command, environment: Environment, home: Path, arguments: list[str]
) -> None:
    command("users", "add", "grace", "--show-passwords")
    good = home.with_name("good")
    shutil.copytree(home, good)
    for effect in range(1000):
        shutil.rmtree(home)
        shutil.copytree(good, home)
        with interrupted_before(effect, home):
            called = command(*arguments)
        if called.code == 0:
            break
        assert called.code == 130, f"effect {effect}: {called.err}"
        assert "run the same command again" in called.err
        assert _faults(command, environment, home) == [], f"interrupted before effect {effect}"
        again = command(*arguments)
        done_already = again.code == 2 and ("already" in again.err or "no user" in again.err)
        assert again.code == 0 or done_already, f"effect {effect}: {again.err}"
        assert _owner_is_known(environment), f"effect {effect}"
    assert effect > 1, "no effect was seen: this proves nothing"


def _faults(command: Command, environment: Environment, home: Path) -> list[str]:
    """What is not as it must be, whether the command had its effect or not."""
    faults = [str(left) for left in home.rglob(".new-*")]
    for arguments in (["list", "--json"], ["users", "list", "--json"]):
        called = command(*arguments)
        if called.code not in {0, 2}:
            faults.append(f"{arguments} ended with {called.code}: {called.err}")
    listed = json.loads(command("list", "--json").out)
    if any(each["problem"] for each in listed):
        faults.append(str(listed))
    if environment.exists:
        users, _ = read(environment.target.store, Users)
        if users is not None and not {"ada"} <= set(users.users):
            faults.append(f"somebody is missing: {set(users.users)}")
    return faults


def _owner_is_known(environment: Environment) -> bool:
    if not environment.exists or environment.owner() is None:
        return True
    users, _ = read(environment.target.store, Users)
    password = environment.password("ada")
    return users is None or password is None or matches(password, users.users["ada"].hash)
