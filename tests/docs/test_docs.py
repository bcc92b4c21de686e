"""Every command in README and docs is run, page by page, in the order a reader types them."""

import re
import subprocess
from pathlib import Path

import pytest

from kits import COMMAND, Kit, free_port, seed_packages

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
ELSEWHERE = {
    "make up": "tests/machine/test_make_up.py",
    "make test": ".ci/run",
    "uv tool install .": "tests/e2e/test_wheel.py",
}
"""Commands that install something, and what runs them instead."""


def commands(page: Path) -> list[str]:
    """The lines after a prompt in a page's console blocks."""
    blocks = [text for kind, text in BLOCK.findall(page.read_text()) if kind == "console"]
    return [line[2:] for text in blocks for line in text.splitlines() if line.startswith("$ ")]


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda p: p.name)
def test_every_command_of_a_page_runs(page: Path, kit: Kit) -> None:
    seed_packages(kit.machine())
    packages = next((kit.machine() / "packages").iterdir())
    lines = []
    for command in commands(page):
        if command not in ELSEWHERE:
            lines += [f"echo {re.escape('+ ' + command)} >&2", command]
    script = "\n".join(lines).replace("8181", str(free_port()))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env={
            **kit.environment,
            "PATH": f"{packages / 'bin'}:{COMMAND.parent}:{kit.environment['PATH']}",
            "TRACKSTACK_PORT": str(kit.port),
        },
        cwd=kit.home.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (
        f"{page.name}, after the last line that starts with '+':\n{done.stderr}"
    )


@pytest.mark.parametrize(("command", "runner"), ELSEWHERE.items())
def test_a_command_that_is_run_elsewhere_is_run_there(command: str, runner: str) -> None:
    assert command in (ROOT / runner).read_text(), f"{runner} does not run `{command}`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_stand_only_where_they_are_run(page: Path) -> None:
    kinds = {kind for kind, text in BLOCK.findall(page.read_text()) if "$ " in text}
    assert kinds <= {"console"}, f"{page.name} shows commands in a block that no test runs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_into_the_repository_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    lost = [link for link in links if not (page.parent / link).exists()]
    assert not lost, f"{page.name} links to what is not there: {lost}"
