"""Whatever lies in the home folder, a command says what is wrong and never breaks."""

from collections.abc import Callable
from pathlib import Path

import pytest

from trackstack.environment import Environment
from unit.making import Called

Command = Callable[..., Called]

FILES = [
    "record.json",
    "credentials.json",
    "control/desired/users.json",
    "control/desired/release.json",
    "control/observed/machines/local.json",
    "control/observed/ca.pem",
    "control/audit",
    "machine/data/stores.env",
    "machine/run/supervisor.lock",
    "machine/logs/nginx.jsonl",
    "machine/logs/nginx.jsonl.old",
    "machine/live",
    "changing.lock",
]
DAMAGE: dict[str, bytes | None] = {
    "no text": b"\x00\xff\xfe",
    "an open quote": b"A='",
    "deep nesting": b"[" * 100_000,
    "half a letter": b'{"ada": "\\ud800"}',
    "a folder": None,
}
COMMANDS = [
    ["list"],
    ["status"],
    ["logs", "nginx"],
    ["env"],
    ["users", "list"],
    ["plan", "local"],
    ["users", "rotate", "ada", "--show-passwords"],
    ["destroy", "--yes"],
]
"""In this order: what only looks comes first."""


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_at_home_breaks_no_command(
    command: Command, environment: Environment, name: str, content: bytes | None
) -> None:
    file = environment.folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.is_dir():
        file.rename(file.with_name("elsewhere"))
    if content is None:
        file.unlink(missing_ok=True)
        file.mkdir()
    else:
        file.write_bytes(content)
    broken = {}
    for arguments in COMMANDS:
        called = command(*arguments)
        if called.code not in range(7) or "has a bug" in called.err:
            broken[" ".join(arguments)] = _cause(called)
    assert broken == {}


def _cause(called: Called) -> str:
    for word in called.err.split():
        if word.endswith(".txt."):
            return Path(word[:-1]).read_text()[-700:]
    return called.err
