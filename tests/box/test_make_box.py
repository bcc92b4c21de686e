"""`make box` and `make box-down` as a person calls them, and a box whose program is killed."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from box.left import forwards, left
from engine.world.network import network
from kits import CACHE, content_of, eventually

ROOT = Path(__file__).parents[2]
BOOT_SECONDS = 120.0
GONE_SECONDS = 120.0


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    """For a box that is noted in no other place than those of this test, and lies there too."""
    cache = tmp_path / "cache"
    cache.mkdir()
    CACHE.mkdir(parents=True, exist_ok=True)
    for each in CACHE.iterdir():
        if each.name != "box.pid":
            (cache / each.name).symlink_to(each.resolve())
    python = f"{ROOT / 'tests'}:{ROOT}"
    places = {"TRACKSTACK_TEST_CACHE": str(cache), "TMPDIR": str(tmp_path), "PYTHONPATH": python}
    return {**os.environ, **places}


@contextmanager
def started(*command: str, env: Mapping[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """A program that is gone afterwards, at least itself."""
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_person_s_box_tells_how_to_use_it_and_goes_with_all_that_it_made(
    variables: dict[str, str],
) -> None:
    forwarded = forwards()
    with started("make", "--silent", "box", env=variables) as made:
        assert made.stdout is not None
        said = ""
        for line in made.stdout:
            said += line
            if "removes it all" in line:
                break
        folder = re.search(r"its console +(/\S+?/box-[^/]+)/", said)
        bridge = re.search(r"ip netns exec (ts-[0-9]+)-", said)
        command = re.search(r"the laptop +(\S+),", said)
        assert folder, said
        assert bridge, said
        assert command, said
        exports = "\n".join(re.findall("^ +export .*", said, re.MULTILINE))
        status = ["sh", "-c", f"{exports}\n{command[1]} status -e team"]
        told = subprocess.run(status, env={}, capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stderr
        assert left(bridge[1], Path(folder[1])) != []

        down = subprocess.run(
            ["make", "--silent", "box-down"],
            cwd=ROOT,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert down.returncode == 0, down.stderr
        assert made.wait(GONE_SECONDS) == 0, made.stdout.read()
    assert left(bridge[1], Path(folder[1])) == []
    assert not Path(folder[1]).exists()
    assert forwards() == forwarded


def test_a_killed_box_takes_its_machine_along_and_the_next_one_removes_the_rest(
    variables: dict[str, str], tmp_path: Path
) -> None:
    forwarded = forwards()
    with started(sys.executable, "-m", "box", "up", env=variables) as killed:
        mark = f"a test of process {killed.pid}"

        def bridges() -> list[str]:
            files = Path("/sys/class/net").glob("ts-*/ifalias")
            return [each.parent.name for each in files if content_of(each).decode().strip() == mark]

        def boots() -> bool:
            there = "\n".join(left(bridges()[0], tmp_path)) if bridges() else ""
            return "loop device" in there and "systemd-nspawn" in there

        assert eventually(boots, BOOT_SECONDS), killed.communicate(timeout=30)[0]
        (bridge,) = bridges()
        killed.kill()
        killed.wait()

    def machines() -> list[str]:
        kinds = ("mount", "loop device", "process unshare", "process /usr/lib/systemd/")
        return [each for each in left(bridge, tmp_path) if each.startswith(kinds)]

    assert eventually(lambda: machines() == [], GONE_SECONDS), machines()
    with network():
        # Another run may be about to remove it too.
        assert eventually(lambda: left(bridge, tmp_path) == []), left(bridge, tmp_path)
    assert forwards() == forwarded
