"""Where the pulumi program is missing: a deploy at a terminal offers it, and goes on with it."""

from pathlib import Path

import pexpect
import pytest

from engine.rooms import VERSION, program
from engine.world.aws import AwsWorld, Laptop
from engine.world.pulumi_host import pulumi_host

# Python warns of it wherever a test process has threads; what is run replaces the process at once.
pytestmark = pytest.mark.filterwarnings("ignore:.*forkpty:DeprecationWarning")

DEPLOY = ("deploy", "aws", "-e", "team", "--allow", "10.0.0.0/8")
BY_HAND = "https://www.pulumi.com/docs/install/"
OFFER = "Download it from Pulumi into a folder of trackstack's own? [y/N]: "
INSTALLS = f"""#!/bin/sh
[ "$1 $2 $4 $5" = "--no-edit-path --install-root --version {VERSION}" ] || exit 2
mkdir -p "$3/bin" && cp {{program}} "$3/bin/pulumi"
"""
"""As Pulumi's own puts it there, without the download."""


def at_terminal(laptop: Laptop, **more: str) -> "pexpect.spawn[str]":
    """Deploy at a terminal, with a PATH on which there is no pulumi program."""
    return pexpect.spawn(
        laptop.command[0],
        [*laptop.command[1:], *DEPLOY],
        env={**laptop.environment, "PATH": "/usr/bin:/bin", "TERM": "xterm", **more},
        cwd=str(laptop.home.parent),
        encoding="utf-8",
        timeout=60,
        dimensions=(50, 400),
    )


def ended(terminal: "pexpect.spawn[str]") -> tuple[int | None, str]:
    """The exit code, and what was shown until then."""
    shown = str(terminal.read())
    terminal.close()
    return terminal.exitstatus, shown


def test_without_a_terminal_it_is_said_how_to_install_it(aws: AwsWorld, tmp_path: Path) -> None:
    laptop = aws.laptop(tmp_path / "home")
    done = laptop.run(*DEPLOY, "--yes", ok=False, PATH="/usr/bin:/bin")
    assert done.returncode == 4, done.stderr
    assert "The pulumi program is missing" in done.stderr
    assert BY_HAND in done.stderr


def test_who_does_not_want_it_is_told_how_to_install_it(aws: AwsWorld, tmp_path: Path) -> None:
    terminal = at_terminal(aws.laptop(tmp_path / "home"))
    terminal.expect_exact(OFFER)
    terminal.sendline("n")
    code, shown = ended(terminal)
    assert code == 4, shown
    assert BY_HAND in shown
    assert aws.cloud.calls == []


@pytest.mark.parametrize(
    "script", [None, "#!/bin/sh\nexit 1\n", "#!/bin/sh\n"], ids=["away", "fails", "brings-nothing"]
)
def test_a_download_that_fails_is_one_sentence_and_the_way_out(
    aws: AwsWorld, tmp_path: Path, script: str | None
) -> None:
    with pulumi_host(tmp_path / "host", script) as variables:
        terminal = at_terminal(aws.laptop(tmp_path / "home"), **variables)
        terminal.expect_exact(OFFER)
        terminal.sendline("y")
        code, shown = ended(terminal)
    assert code == 4, shown
    assert f"Pulumi {VERSION} could not be downloaded." in shown
    assert BY_HAND in shown
    assert "Traceback" not in shown
    assert aws.cloud.calls == []


def test_the_deploy_goes_on_with_what_was_downloaded(aws: AwsWorld, tmp_path: Path) -> None:
    laptop = aws.laptop(tmp_path / "home")
    with pulumi_host(tmp_path / "host", INSTALLS.format(program=program())) as variables:
        terminal = at_terminal(laptop, **variables)
        terminal.expect_exact(OFFER)
        terminal.sendline("y")
        terminal.expect_exact("Go ahead? [y/N]: ")
        assert "make     31 resources" in str(terminal.before)
        terminal.sendline("n")
        assert ended(terminal)[0] == 2
    # It is there for the next command, and nothing is asked any more.
    again = laptop.run("plan", *DEPLOY[1:], PATH="/usr/bin:/bin")
    assert "make     31 resources" in again.stdout
    assert aws.cloud.calls == []
