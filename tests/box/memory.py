"""How much memory machines have: their control group's limit, without any swap.

Debian's cloud images have none either. The limit is that of the programs and of what they keep in
the page cache and in a tmpfs; what a machine's kernel takes for itself is this computer's here.
"""

from collections.abc import Sequence
from pathlib import Path

_GIB = 2**30
_OF_TYPES = {"t3.small": 2, "t3.medium": 4, "e2-small": 2, "e2-medium": 4}
"""GiB, by https://aws.amazon.com/ec2/instance-types/t3/ and
https://cloud.google.com/compute/docs/general-purpose-machines#e2-shared-core."""
_LIMITS = {
    "memory.limit_in_bytes": "{bytes}",
    "memory.memsw.limit_in_bytes": "{bytes}",
    "memory.max": "{bytes}",
    "memory.swap.max": "0",
}
"""What is written where, in this order: the first two are of version 1 of control groups, with
and without swap counted, the others of version 2.
https://docs.kernel.org/admin-guide/cgroup-v1/memory.html and cgroup-v2.html"""
_EVENTS = ("memory.oom_control", "memory.events")


def of(type_: str) -> int:
    """The bytes of a machine type; one that the box does not know yet belongs into its table."""
    assert type_ in _OF_TYPES, f"tests/box/memory.py does not know how much memory a {type_} has"
    return _OF_TYPES[type_] * _GIB


def limit(groups: Sequence[Path], size: int) -> None:
    """Let all that lives in a control group have so many bytes together.

    Args:
        groups: its places; at least one hierarchy of a computer counts memory.
    """
    files = {group / name: text for group in groups for name, text in _LIMITS.items()}
    there = {file: text for file, text in files.items() if file.exists()}
    assert there, f"no control group of this computer limits memory: {[*map(str, groups)]}"
    for file, text in there.items():
        file.write_text(text.format(bytes=size))


def limited(groups: Sequence[Path]) -> int:
    """How many bytes a control group may have, by the kernel."""
    names = ("memory.limit_in_bytes", "memory.max")
    files = [group / name for group in groups for name in names]
    return min(int(file.read_text()) for file in files if file.exists())


def kills(groups: Sequence[Path]) -> int:
    """How many processes of a control group were ended because it had no memory left."""
    files = [file for group in groups for name in _EVENTS if (file := group / name).exists()]
    lines = [line.split() for file in files for line in file.read_text().splitlines()]
    return sum(int(count) for name, count in lines if name == "oom_kill")


def told(size: int) -> str:
    """What stands in /proc/meminfo: how much there is, and all of it free as at the start.

    The kernel would tell of this computer's memory there.
    """
    there = f"{size // 1024} kB"
    lines = {
        **dict.fromkeys(("MemTotal", "MemFree", "MemAvailable"), there),
        **dict.fromkeys(("Buffers", "Cached", "SwapTotal", "SwapFree"), "0 kB"),
    }
    return "".join(f"{name + ':':16}{value:>11}\n" for name, value in lines.items())
