"""Every command in README and docs is run, page by page, in the order a reader types them."""

import re
import subprocess
from pathlib import Path

import pytest
from pages import ELSEWHERE, PAGES, ROOT, blocks, commands, script_of

from kits import COMMAND, Kit, free_port, seed_packages

IN_A_CLOUD = {"aws.md", "gcp.md"}
"""Pages that are run in a world of their cloud, by test_cloud_pages.py."""


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if commands(page) and page.name not in IN_A_CLOUD],
    ids=lambda page: page.name,
)
def test_every_command_of_a_page_runs(page: Path, kit: Kit) -> None:
    seed_packages(kit.machine())
    packages = next((kit.machine() / "packages").iterdir())
    script = script_of([command for command in commands(page) if command not in ELSEWHERE])
    script = script.replace("8181", str(free_port()))
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
    kinds = {kind for kind, text in blocks(page) if "$ " in text}
    assert kinds <= {"console"}, f"{page.name} shows commands in a block that no test runs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_into_the_repository_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    lost = [link for link in links if not (page.parent / link).exists()]
    assert not lost, f"{page.name} links to what is not there: {lost}"
