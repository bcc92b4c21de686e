"""Bare Debian machines: a root made by mmdebstrap, with processes and mounts of its own.

A machine shares the host's network (so nothing on the host is forwarded or filtered for it)
and ends with its keeper: the first process in it, which waits for the end of its input. However
this program ends, that input ends, and the kernel takes every process and mount along. Where
memory allows, the root lies in it: quicker on a busy disk, and gone with the mount.
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

import roots

CHECKOUT = Path(__file__).parents[2]
# One machine comes to a little over 1 GB, and two may run side by side.
ROOM_IN_MEMORY = 6 * 2**30
# What the README asks for, and sudo. Even ca-certificates is missing.
PACKAGES = ("git", "make", "python3", "sudo")
USER = "ada"

KEEPER = """
import os, signal, sys

def bury(*_):  # the first process inherits every orphan
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass

signal.signal(signal.SIGCHLD, bury)
print("ready", flush=True)
sys.stdin.read()
"""

ENTER = """
set -eu
golden=$1 root=$2 keeper=$3 place=$4
[ "$place" = disk ] || mount -t tmpfs -o mode=0755 tmpfs "$root"
cp --archive --reflink=auto "$golden/." "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin python3 -c "$keeper"
"""

# Stands in for the program that starts services on a machine without systemd, and notes which.
STARTER = "usr/sbin/start-stop-daemon"
NOTED_STARTS = "var/log/started"
NOTING_STARTER = f"""#!/bin/sh
echo "$@" >>/{NOTED_STARTS}
exec /{STARTER}.real "$@"
"""


@dataclass(frozen=True)
class Machine:
    """A machine that runs; commands go in through its first process."""

    first_process: int

    @property
    def root(self) -> Path:
        """The machine's root folder as the host sees it."""
        return Path(f"/proc/{self.first_process}/root")

    def run(self, command: str, user: str = "root") -> str:
        """Run a shell command line as after a login; return what it printed, both streams."""
        done = self.attempt(command, user)
        assert done.returncode == 0, f"{command}, as {user}: exit {done.returncode}\n{done.stdout}"
        return done.stdout

    def attempt(self, command: str, user: str = "root") -> subprocess.CompletedProcess[str]:
        """As `run`, for a command that may fail."""
        inside = ["nsenter", f"--target={self.first_process}", "--mount", "--pid", "--root", "--wd"]
        return subprocess.run(
            [*inside, "su", "-", user, "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )

    def file(self, path: str) -> Path:
        """The place on the host of a file of the machine."""
        return self.root / path.lstrip("/")

    def processes(self) -> list[str]:
        """Command lines of all that runs, as the host sees them, but for the first process."""
        space = Path(f"/proc/{self.first_process}/ns/pid").readlink()
        return [line for pid, line in processes_in(space) if pid != self.first_process]

    def starts_at_boot(self, service: str) -> bool:
        """Whether the machine's own init, of either kind, would start a service."""
        links = f"/etc/systemd/system/*.wants/{service}.service /etc/rc[2-5].d/S*{service}"
        return self.run(f"ls {links} 2>/dev/null || true") != ""

    def copy_checkout_for(self, user: str) -> str:
        """Copy what git would commit, changes not committed yet included; return the folder."""
        inside = "/root/trackstack" if user == "root" else f"/home/{user}/trackstack"
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split("\0")
        for name in listed:
            if (CHECKOUT / name).is_file():
                copied = self.file(f"{inside}/{name}")
                copied.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(CHECKOUT / name, copied)
        self.run(f"chown -R {user}: {inside}")
        return inside


@contextmanager
def running_machine(suite: str, folder: Path) -> Iterator[Machine]:
    """A fresh machine of a Debian suite, with its root in a folder that is removed afterwards."""
    root = folder / suite
    root.mkdir()
    place = "memory" if psutil.virtual_memory().available > ROOM_IN_MEMORY else "disk"
    try:
        with ExitStack() as running:
            recipe = Path(__file__).read_bytes() + Path(roots.__file__).read_bytes()
            make = partial(_make_root, suite)
            with roots.golden_root(suite, recipe, make) as golden:
                enter = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", ENTER, "-"]
                keeper = running.enter_context(
                    subprocess.Popen(
                        [*enter, str(golden), str(root), KEEPER, place],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        text=True,
                    )
                )
                assert keeper.stdout is not None
                assert keeper.stdout.readline() == "ready\n"
            children = Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children").read_text()
            machine = Machine(int(children))
            roots.copy_network_settings(machine.root)
            yield machine
    finally:
        subprocess.run(["rm", "-rf", "--one-file-system", root], check=True)


def processes_in(space: Path) -> Iterator[tuple[int, str]]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "ns/pid").readlink() == space:
                words = (folder / "cmdline").read_bytes().split(b"\0")
                yield int(folder.name), b" ".join(words).decode(errors="replace").strip()
        except OSError:  # it ended meanwhile
            continue


def _make_root(suite: str, root: Path) -> None:
    roots.debian(suite, PACKAGES, root)
    subprocess.run(["chroot", root, "useradd", "-m", "-s", "/bin/bash", USER], check=True)
    (root / "etc/sudoers.d" / USER).write_text(f"{USER} ALL=(ALL) NOPASSWD: ALL\n")
    (root / STARTER).rename(root / f"{STARTER}.real")
    (root / STARTER).write_text(NOTING_STARTER)
    (root / STARTER).chmod(0o755)
