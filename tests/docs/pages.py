"""What a page shows: its commands, as a reader would type them."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
ELSEWHERE = {
    "make up": "tests/machine/test_make_up.py",
    "make test": ".ci/run",
    "uv tool install .": "tests/e2e/test_wheel.py",
    "uv tool install '.[aws]'": "tests/e2e/test_wheel.py",
    "uv tool install '.[gcp]'": "tests/e2e/test_wheel.py",
}
"""Commands that install something, and what runs them instead."""

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)$", re.MULTILINE)
"""A backslash at the end of a line has it go on."""


def blocks(page: Path) -> list[tuple[str, str]]:
    """The kind and the text of each fenced block."""
    return _BLOCK.findall(page.read_text())


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return _BLOCK.sub("", page.read_text())


def console_blocks(page: Path) -> list[list[str]]:
    """The commands of each console block: what stands after a prompt."""
    return [_COMMAND.findall(text) for kind, text in blocks(page) if kind == "console"]


def commands(page: Path) -> list[str]:
    """All of them."""
    return [command for block in console_blocks(page) for command in block]


def script_of(lines: list[str]) -> str:
    """A script for bash that says each command before it runs it."""
    told = [f"echo {shlex.quote('+ ' + line)} >&2\n{line}" for line in lines]
    return "\n".join(told)
