"""What a box has on this computer, and so what must be gone after it."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil

from engine.world.network import control_groups
from kits import content_of


def left(bridge: str, folder: Path) -> list[str]:
    """Everything that a box has outside its folder, one thing a line, the same at each look.

    Args:
        bridge: its network's, which all names in the network begin with.
        folder: the box's own.
    """
    place = str(folder.resolve())
    return sorted(
        [
            *(f"process {name}" for name in _processes(bridge, place)),
            *(f"mount {at}" for at in _mounts() if place in at),
            *(f"loop device over {file}" for file in _loop_devices() if place in file),
            *(f"device {name}" for name in _names("/sys/class/net", bridge)),
            *(f"namespace {name}" for name in _names("/run/netns", bridge)),
            *(f"names for {name}" for name in _names("/etc/netns", bridge)),
            *(f"nft {name}" for name in _nft(bridge)),
            *(
                f"control group {group}"
                for place in control_groups("")
                for group in place.glob(f"{bridge}*")
            ),
        ]
    )


def forwards() -> bool:
    """Whether this computer passes on what is not for it, whoever sent it."""
    return Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == "1"


def _names(folder: str, bridge: str) -> list[str]:
    found = Path(folder).glob(f"{bridge}*")
    return [each.name for each in found if each.name == bridge or each.name[len(bridge)] == "-"]


def _processes(bridge: str, place: str) -> Iterator[str]:
    """By what they were called with, where they work and print to, and their control group."""
    own = {psutil.Process().pid, *(each.pid for each in psutil.Process().parents())}
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
            proc = Path("/proc", str(process.pid))
            groups = (proc / "cgroup").read_text()
            marks = [line, process.cwd(), str((proc / "fd/1").readlink()), groups]
        except (psutil.Error, OSError):
            continue
        if process.pid not in own and any(
            place in mark or f"{bridge}-" in mark for mark in marks if mark
        ):
            yield line


def _mounts() -> list[str]:
    return [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]


def _loop_devices() -> list[str]:
    files = Path("/sys/block").glob("loop*/loop/backing_file")
    return [content_of(file).decode().strip() for file in files]


def _nft(bridge: str) -> Iterator[str]:
    done = subprocess.run(["nft", "--json", "list", "ruleset"], capture_output=True, check=True)
    for each in json.loads(done.stdout)["nftables"]:
        for kind in ("table", "chain"):
            if kind in each and each[kind].get("table", each[kind]["name"]) == bridge:
                yield f"{kind} {each[kind]['name']}"
