"""Every command in README and docs is run, page by page, in the order a reader types them."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
from pages import ELSEWHERE, PAGES, ROOT, blocks, commands, prose, script_of

from kits import COMMAND, Kit, free_port, seed_packages
from trackstack.cli import app

IN_A_CLOUD = {"aws.md", "gcp.md"}
"""Pages that are run in a world of their cloud, by test_cloud_pages.py."""
IN_DOCKER = {"compose.md"}
"""Pages that are run with a Docker Engine, by test_compose_page.py."""


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if commands(page) and page.name not in IN_A_CLOUD | IN_DOCKER],
    ids=lambda page: page.name,
)
def test_every_command_of_a_page_runs(page: Path, kit: Kit) -> None:
    seed_packages(kit.machine())
    (kit.home.parent / "examples").symlink_to(ROOT / "examples")
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
    indented = re.findall(r"^ {4,}(?:trackstack|aws|gcloud|pulumi|make|uv) .*", prose(page), re.M)
    assert not indented, f"{page.name} shows commands that no test runs: {indented}"
    shown = "\n".join(text for kind, text in blocks(page) if kind == "text")
    run = {command for name in IN_A_CLOUD for command in commands(ROOT / "docs" / name)}
    lost = set(re.findall(r"^trackstack .*", shown, re.M)) - run
    assert not lost, f"{page.name} shows the output of what no test runs: {lost}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_command_within_a_sentence_is_one_that_there_is(page: Path) -> None:
    known = typer.main.get_command(app)
    for text in re.findall(r"`([^`]+)`", prose(page)):
        words = shlex.split(text)
        if words[0] == "trackstack" or (len(words) > 1 and words[0] in subcommands(known)):
            problem = unknown_in(words[words[0] == "trackstack" :], known)
            assert problem is None, f"{page.name} says `{text}`, and there is no {problem!r}"


def unknown_in(words: list[str], command: Any) -> str | None:
    """The first word that is neither a subcommand, nor one of its options, nor an argument."""
    for word in words:
        options = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
        if word in subcommands(command):
            command = subcommands(command)[word]
        elif word not in {*options, "--help"} if word.startswith("-") else subcommands(command):
            return word
    return None


def subcommands(command: Any) -> dict[str, Any]:
    """By name; none for a command that is no group."""
    return getattr(command, "commands", {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_into_the_repository_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    lost = [link for link in links if not (page.parent / link).exists()]
    assert not lost, f"{page.name} links to what is not there: {lost}"
