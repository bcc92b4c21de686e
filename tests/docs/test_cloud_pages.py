"""Every command of the clouds' pages is typed at a terminal, in the world of its cloud."""

import re
import shutil
from pathlib import Path

import pexpect
import pytest
from pages import ELSEWHERE, ROOT, console_blocks, script_of

from engine.rooms import ACCOUNT, GCP_REGION, PROJECT, REGION
from engine.world import language_host
from engine.world.aws import Laptop, aws_world
from engine.world.gcp import NUMBER, gcp_world
from kits import COMMAND

# Python warns of it wherever a test process has threads; what is run replaces the process at once.
pytestmark = pytest.mark.filterwarnings("ignore:.*forkpty:DeprecationWarning")

ON_AWS = {
    "ACCOUNT": ACCOUNT,
    "REGION": REGION,
    "VERSION": f"$(aws s3api list-object-versions --region {REGION} --bucket $BUCKET "
    "--prefix $STATE "
    "--query 'Versions[0].VersionId' --output text)",
}
ON_GCP = {
    "my-project": PROJECT,
    "NUMBER": NUMBER,
    "REGION": GCP_REGION,
    "#GENERATION": "$(gcloud storage ls --all-versions $STATE | tail -n 1 | grep -o '#.*')",
}
"""What a reader replaces on a page."""

ANSWERS = {
    r"\[y/N\]: ": "y\n",
    "Type the environment's name to go ahead: ": "team\n",
    # Where the cursor is; pulumi waits for a terminal's word on that.
    re.escape("\x1b[6n"): "\x1b[1;1R",
}
"""What is asked, and what is typed."""


def type_all(lines: list[str], laptop: Laptop) -> None:
    """Type lines at a terminal, in a folder beside the project, and agree to all that is asked."""
    folder = laptop.home.parent
    shutil.copytree(ROOT / "stacks", folder / "stacks")
    language_host.put_into(folder)
    terminal = pexpect.spawn(
        "/bin/bash",
        ["-euo", "pipefail", "-c", script_of(lines)],
        env={
            **laptop.environment,
            "PATH": f"{folder}:{COMMAND.parent}:{laptop.environment['PATH']}",
            "TERM": "xterm",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        },
        cwd=str(folder),
        encoding="utf-8",
        timeout=900,
        dimensions=(50, 400),
    )
    shown, typed = "", list(ANSWERS.values())
    while (asked := terminal.expect([*ANSWERS, pexpect.EOF, pexpect.TIMEOUT])) < len(typed):
        shown += f"{terminal.before}{terminal.after}"
        terminal.send(typed[asked])
    shown += str(terminal.before)
    terminal.close(force=True)
    assert terminal.exitstatus == 0, f"after the last line that starts with '+':\n{shown[-9000:]}"


def blocks_of(name: str, replaced: dict[str, str]) -> list[list[str]]:
    """The commands of a page, block by block, as a reader types them."""
    found = []
    for block in console_blocks(ROOT / "docs" / name):
        lines = [line for line in block if line not in ELSEWHERE]
        for word, meant in replaced.items():
            lines = [line.replace(word, meant) for line in lines]
        found.append(lines)
    return found


def test_every_command_of_the_page_of_aws_does_what_the_page_says(tmp_path: Path) -> None:
    lines = [line for block in blocks_of("aws.md", ON_AWS) for line in block]
    with aws_world(tmp_path / "aws") as world:
        type_all(lines, world.laptop(tmp_path / "home"))
        assert world.cloud.kinds() == []


def test_every_command_of_the_page_of_gcp_does_what_the_page_says(tmp_path: Path) -> None:
    blocks = blocks_of("gcp.md", ON_GCP)
    # The engine takes the double's host and port, where Google's own libraries take its address.
    engine = 'pulumi() { STORAGE_EMULATOR_HOST=${STORAGE_EMULATOR_HOST#*//} command pulumi "$@"; }'
    with gcp_world(tmp_path / "gcp") as world:
        laptop = world.laptop(tmp_path / "home")
        gcloud = shutil.which("gcloud", path=laptop.environment["PATH"])
        tried = [block for block in blocks if gcloud or "gcloud" not in str(block)]
        type_all([engine, *(line for block in tried for line in block)], laptop)
        # The interfaces may be left on.
        assert set(world.cloud.kinds()) <= {"projects.Service"}
    if tried != blocks:
        pytest.skip("gcloud is missing: Debian has no package of it. All else of the page was run")
