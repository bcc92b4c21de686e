"""One machine: a real Debian that boots under systemd, with a disk and a cable of its own."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import keeping
from box import freezing, memory
from box.image import Image
from box.wires import Socket
from engine.world.network import control_groups
from kits import eventually

_STOP_SECONDS = 60.0
_POWER_OFF = signal.SIGRTMIN + 4
"""https://www.freedesktop.org/software/systemd/man/latest/systemd.html#Signals"""
_MEMINFO = "etc/box/meminfo"
"""On the machine's own disk: over /proc, systemd-nspawn binds what it finds in the machine."""

# The disk is a mount of its own, gone with the last process. What was written need not outlive this
# computer's power, and the disk is told so. systemd-nspawn has the network by being in it, so that
# /sys shows the machine's devices; it ends with 133 when the machine wants to boot again.
_BOOT = """
set -eu
golden=$1 disk=$2 name=$3 volumes=$4
shift 4
for group; do
  if [ -e "$group/cpuset.mems" ]; then
    cat "$group/../cpuset.mems" >"$group/cpuset.mems"
    cat "$group/../cpuset.cpus" >"$group/cpuset.cpus"
  fi
  echo 0 >"$group/cgroup.procs"
done
rm -rf "$disk/work/work/incompat"
mount -t overlay -o "lowerdir=$golden,upperdir=$disk/upper,workdir=$disk/work,volatile" \\
  overlay "$disk/root"
code=133
export SYSTEMD_NSPAWN_API_VFS_WRITABLE=network
while [ $code = 133 ]; do
  code=0
  nsenter --net="/run/netns/$name" systemd-nspawn --quiet --directory="$disk/root" \\
    --machine="$name" --boot --keep-unit --register=no --capability=CAP_NET_ADMIN \\
    --resolv-conf=off --timezone=off --link-journal=no --console=read-only \\
    $(cat "$volumes") || code=$?
done
exit $code
"""


@dataclass
class Guest:
    """A machine that is on.

    Attributes:
        folder: its disk.
        console: the file with all that it printed.
        memory: bytes of it; see memory.py.
        devices: the volumes it has: the host's device by the names they have in it.
    """

    image: Image
    folder: Path
    socket: Socket
    console: Path
    memory: int
    devices: dict[str, tuple[str, ...]] = field(default_factory=dict)
    program: "subprocess.Popen[bytes] | None" = None

    def boot(self, firmware: Mapping[str, str]) -> None:
        """Switch it on.

        Args:
            firmware: files that its disk has from the beginning.
        """
        for name in ("upper", "work", "root"):
            (self.folder / name).mkdir(exist_ok=True)
        for name, text in {**firmware, _MEMINFO: memory.told(self.memory)}.items():
            place = self.folder / "upper" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        groups = control_groups(self.socket.name)
        for group in groups:
            group.mkdir(exist_ok=True)
        memory.limit(groups, self.memory)
        self._write_devices()
        command: list[str | Path]
        command = [self.image.root, self.folder, self.socket.name, self._volumes, *groups]
        self.program = keeping.start(["sh", "-c", _BOOT, "boot", *command], self.console)

    def plug(self, device: str, names: tuple[str, ...]) -> None:
        """Give it a volume while it runs.

        Args:
            device: of the host, such as /dev/loop0.
            names: the device's names in the machine; all but the first are links.
        """
        self.devices[device] = names
        self._write_devices()
        number = Path(device).stat().st_rdev
        first, *links = names
        made = f"[ -e {first} ] || mknod {first} b {os.major(number)} {os.minor(number)}"
        linked = [f"mkdir -p {Path(n).parent}; [ -e {n} ] || ln -s {first} {n}" for n in links]
        assert eventually(lambda: self.leader() is not None), self._said()
        done = self._enter("mount", "; ".join([made, *linked]))
        assert done.returncode == 0, f"{names} cannot be plugged in: {done.stdout}"

    def run(self, command: str) -> str:
        """Run a shell command as root; what it printed, both streams."""
        done = self.attempt(command)
        assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout}"
        return done.stdout

    def attempt(self, command: str) -> "subprocess.CompletedProcess[str]":
        """As `run`, for a command that may fail."""
        return self._enter("all", command)

    def off(self, kindly: bool = True) -> None:
        """Switch it off, or cut its power."""
        if self.program is None:
            return
        leader = self.leader() if kindly else None
        if leader is not None:
            with suppress(ProcessLookupError):
                os.kill(leader, _POWER_OFF)
            with suppress(subprocess.TimeoutExpired):
                self.program.wait(_STOP_SECONDS)
        keeping.end(self.program)
        self.program = None

    @contextmanager
    def struck(self) -> Iterator[None]:
        """All of it stands still, and dies afterwards where it stands."""
        groups = control_groups(self.socket.name)
        with freezing.frozen(groups):
            yield
            freezing.kill(groups)

    def memory_limit(self) -> int:
        """How many bytes the kernel lets all of it have."""
        return memory.limited(control_groups(self.socket.name))

    def out_of_memory(self) -> int:
        """How many of its processes the kernel has ended because there was no memory left."""
        return memory.kills(control_groups(self.socket.name))

    def leader(self) -> int | None:
        """Its first process, as the host numbers it; None when it does not run."""
        assert self.program is not None
        found = [self.program.pid]
        # unshare, the keeper, the shell, systemd-nspawn, and the machine's own.
        for _ in range(4):
            found = [child for pid in found for child in _children(pid)]
        # Until then it is systemd-nspawn, which is still at work on the machine.
        return next((pid for pid in found if _program(pid) == "systemd"), None)

    def _enter(self, namespaces: str, command: str) -> "subprocess.CompletedProcess[str]":
        leader = self.leader()
        assert leader is not None, f"the machine is off:\n{self._said()[-3000:]}"
        into = ["nsenter", f"--target={leader}", f"--{namespaces}"]
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return subprocess.run(
            [*into, "env", "-i", path, "LANG=C.UTF-8", "sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )

    def _said(self) -> str:
        """All that it printed, which may end amid a letter."""
        return self.console.read_text(errors="replace")

    def _write_devices(self) -> None:
        binds = [
            f"--bind={device}:{name}" for device, names in self.devices.items() for name in names
        ]
        # In one step: a machine that is being switched on may be reading it.
        written = self.folder / "volumes.new"
        written.write_text("\n".join([*binds, f"--bind-ro=/{_MEMINFO}:/proc/meminfo"]))
        written.replace(self._volumes)

    @property
    def _volumes(self) -> Path:
        return self.folder / "volumes"


def _children(pid: int) -> list[int]:
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:  # it is gone, or goes right now
        return []


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/exe").readlink().name
    except OSError:
        return ""
