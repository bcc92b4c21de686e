"""A server under load is killed part by part, and its disk fills up: nothing acknowledged is lost.

`make soak` does it at random and for as long as one likes.
"""

import os
import re
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from kits import Kit, running_kit, seed_packages
from soak import victims
from soak.load import Writer, load, wait_until_all_write
from soak.victims import Server, kill

BACK_SECONDS = 120.0  # MLflow alone takes ten on two idle cores
DISK_BYTES = 5 * 1024**3  # a sparse file: only what is written takes room


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests, on a small disk of its own where one can be made."""
    base = tmp_path_factory.mktemp("survival")
    with _small_disk(base) as place, running_kit(place / "home") as kit:
        _lend_packages(kit, base)
        users = ("ada", "grace", "bob")
        flags = [word for name in users for word in ("--user", name)]
        kit.deploy("--workers", "1", *flags, "--password-file", base / "passwords")
        lines = (base / "passwords").read_text().split()
        yield Server(kit, dict(line.split(":") for line in lines))


@contextmanager
def _small_disk(base: Path) -> Iterator[Path]:
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        yield base
        return
    image, place = base / "image", base / "disk"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(DISK_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-J", "size=8", image], check=True)
    if subprocess.run(["mount", "-o", "loop", image, place], check=False).returncode != 0:
        yield base
        return
    try:
        yield place
    finally:
        # Lazily: a process that was killed may hold it for another moment.
        subprocess.run(["umount", "--lazy", place], check=True)


def _lend_packages(kit: Kit, base: Path) -> None:
    """Packages from another disk, so that they need not be copied to the small one."""
    seed_packages(base)
    kit.machine().mkdir(parents=True)
    (kit.machine() / "packages").mkdir(mode=0o700)
    for folder in (base / "packages").iterdir():
        (kit.machine() / "packages" / folder.name).symlink_to(folder)


@pytest.fixture
def writers(server: Server) -> Iterator[list[Writer]]:
    """Two who write all the time, to a server that is well."""
    wrong = victims.settled(server, BACK_SECONDS)
    assert not wrong, wrong
    made = [Writer(server.url, (name, server.logins[name])) for name in ("ada", "grace")]
    for each in made:
        each.begin()
    with load(made):
        wait_until_all_write(made, 30)
        yield made


def _all_found(server: Server, writers: list[Writer]) -> None:
    """Everything runs once and serves, and every acknowledged write is there."""
    wrong = victims.settled(server, BACK_SECONDS)
    assert not wrong, wrong
    wait_until_all_write(writers, BACK_SECONDS)
    for each in writers:
        assert each.metrics, "nothing was acknowledged: this proves nothing"
        assert each.lost() == []


VICTIMS: dict[str, Callable[[Server], list[psutil.Process]]] = {
    "MLflow": Server.mlflow,
    "nginx's master": Server.nginx,
    "a worker of nginx": lambda server: server.nginx_workers()[:1],
    "the agent": Server.agent,
}


@pytest.mark.parametrize("victim", VICTIMS.values(), ids=VICTIMS)
def test_no_acknowledged_write_is_lost_to_a_kill_of(
    server: Server, writers: list[Writer], victim: Callable[[Server], list[psutil.Process]]
) -> None:
    assert kill(victim(server)) == 1
    _all_found(server, writers)


def test_no_acknowledged_write_is_lost_to_a_kill_of_the_supervisor_which_its_agent_replaces(
    server: Server, writers: list[Writer]
) -> None:
    before = server.supervisor()
    assert kill(before) == 1
    # The change wakes the agent, which else would look within half a minute.
    server.kit.run("users", "add", "linus", "--show-passwords", ok=False)
    _all_found(server, writers)
    assert server.supervisor() != before
    assert server.kit.run("users", "remove", "linus", ok=False).returncode in (0, 2)


def test_no_acknowledged_write_is_lost_to_a_kill_of_the_agent_amid_a_rotation(
    server: Server, writers: list[Writer]
) -> None:
    assert victims.during_rotation(server, server.agent) == []
    _all_found(server, writers)


def test_no_acknowledged_write_is_lost_to_a_kill_of_the_new_mlflow_amid_a_change(
    server: Server, writers: list[Writer]
) -> None:
    workers = "2" if "--workers 1 " in str(server.release().files) else "1"
    killed = victims.during_release(server, server.mlflow_of_the_release, "--workers", workers)
    assert killed == []
    assert [each.refused for each in writers] == [{}, {}], "the old one did not serve on"
    _all_found(server, writers)


@pytest.fixture
def full(server: Server) -> Iterator[Path]:
    """Fills the disk; the test takes the file away when it is to have room again."""
    if not server.kit.home.parent.is_mount():
        pytest.skip("a small disk of one's own takes root, mkfs.ext4 and a loop device")
    filler = server.kit.home.parent / "filler"
    yield filler
    filler.unlink(missing_ok=True)


def _fill(filler: Path) -> None:
    """Take all room, to the last block."""
    with filler.open("ab") as file:
        size = 1024**3
        while size >= 1024:
            try:
                os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, size)
            except OSError:
                size //= 2
        try:
            while True:
                os.write(file.fileno(), b"x" * 512)
        except OSError:
            return


def test_on_a_full_disk_writes_are_refused_clearly_and_go_on_once_there_is_room(
    server: Server, writers: list[Writer], full: Path
) -> None:
    machine = server.kit.machine()
    before_it = server.supervisor() + server.agent() + server.nginx() + server.mlflow()
    _fill(full)
    _wait_until_refused(writers)
    for each in writers:
        # Where MLflow refuses an upload before its body came, and hangs up, nginx says 502.
        assert set(each.refused) <= {"500", "502", "503", "507"}, each.refused
    name, password = next(iter(server.logins.items()))
    assert server.status(name, password) == 200, "nobody can read any more"
    told = server.kit.run("status", ok=False)
    assert (told.returncode, "is full" in told.stdout) == (3, True), told.stdout
    told = server.kit.run("doctor", ok=False)
    assert (told.returncode, "is full" in told.stdout) == (4, True), told.stdout
    for command in (
        ("users", "rotate", "bob", "--show-passwords"),
        ("deploy", "local", "--workers", "3"),
        ("deploy", "local", "-e", "another"),
    ):
        before = _state(server)
        failed = server.kit.run(*command, ok=False)
        assert failed.returncode in (1, 4), f"{command}: {failed.returncode}\n{failed.stderr}"
        assert re.search("^error: .*(The disk|No space left)", failed.stderr, re.M), failed.stderr
        assert "password" not in failed.stdout
        assert _state(server) == before, f"{command} is half done"
    assert server.status("bob", server.logins["bob"]) == 200
    full.unlink()
    _all_found(server, writers)
    assert all(each.is_running() for each in before_it), "something did not live through it"
    with sqlite3.connect(machine / "data" / "mlflow.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    database.close()
    assert server.kit.run("status").returncode == 0
    assert victims.during_rotation(server, list) == []


def _wait_until_refused(writers: list[Writer]) -> None:
    until = time.monotonic() + 30
    while not all(each.refused for each in writers):
        assert time.monotonic() < until, "the disk is not full"
        time.sleep(0.05)


def _state(server: Server) -> dict[str, bytes]:
    """What is desired, what is recorded, and which environments there are."""
    environments = server.kit.folder().parent
    files = [*server.kit.folder().glob("control/desired/*"), server.kit.folder() / "record.json"]
    there = [folder.name for folder in environments.iterdir()]
    return {str(file): file.read_bytes() for file in files} | {"there": str(there).encode()}
