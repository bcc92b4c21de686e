"""Walls by bubblewrap, without a server: what stands in them of this computer's settings."""

import subprocess

import pytest

from trackstack.agent.models import bubblewrap

pytestmark = pytest.mark.skipif(
    not bubblewrap.there(), reason="bubblewrap is not installed, or may not be used"
)


def within(script: str) -> str:
    command = bubblewrap.within(["/bin/sh", "-c", script], read=())
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_private_key_of_this_computer_is_there() -> None:
    # Root may read them, and within the walls nobody asks who it is.
    shown = within("find -L /etc/ssl /etc/pki -path '*private*' 2>/dev/null; true")
    assert shown == ""
    assert within("find -L /etc -name 'ssh_host*' -o -name shadow 2>/dev/null; true") == ""


def test_who_others_are_can_be_checked() -> None:
    authorities = "/etc/ssl/certs/ca-certificates.crt"
    assert "BEGIN CERTIFICATE" in within(f"cat {authorities}")
