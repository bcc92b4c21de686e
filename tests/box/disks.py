"""Volumes: loop devices, each over a file that outlives the machines it is attached to."""

import os
import subprocess
import time
from pathlib import Path

from kits import eventually

_BYTES = 10 * 2**30
"""As big as the smallest that a deploy makes; what is not written takes no room."""
_IN_PEACE_SECONDS = 300.0
"""What the kernel kept is written in 35 seconds; a copy takes that too where others fill a disk."""


class Disk:
    """A volume that is attached.

    Attributes:
        file: what it holds.
        device: of the host, such as /dev/loop0; it is gone when nobody uses it any more.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        if not file.exists():
            with file.open("wb") as made:
                made.truncate(_BYTES)
        self.device = _losetup("--find", "--show", str(file))
        self._held = os.open(self.device, os.O_RDONLY)
        # Held open, it is detached only when the last one closes it: this program too.
        _losetup("--detach", self.device)

    def copy_what_arrived(self) -> Path:
        """A copy of what it holds; what a machine keeps to itself as yet is not in it.

        Nothing that runs may write to it meanwhile. What the kernel still writes by itself could
        come between two parts of a copy, which is made again then.
        """
        made = self.file.with_name("arrived")
        seen: list[str] = []

        def copied_in_peace() -> bool:
            before, begun = self._writes(), time.monotonic()
            subprocess.run(["cp", "--sparse=always", self.file, made], check=True)
            after = self._writes()
            seen.append(f"{before} to {after} in {time.monotonic() - begun:.1f} s")
            return before == after and before[1] == 0

        copied = eventually(copied_in_peace, _IN_PEACE_SECONDS)
        assert copied, f"{self.device} is written to (writes, on their way) all the time: {seen}"
        return made

    def _writes(self) -> tuple[int, int]:
        """How many there were, and how much is on its way.

        https://docs.kernel.org/block/stat.html
        """
        told = Path("/sys/block", Path(self.device).name, "stat").read_text().split()
        return int(told[4]), int(told[8])

    def release(self) -> None:
        """Let go of it; it stays as long as a machine has it mounted."""
        os.close(self._held)


def identity(file: Path) -> str:
    """That of the file system on a volume; empty when it says that there is none."""
    command = ["blkid", "-p", "-s", "UUID", "-o", "value", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _losetup(*arguments: str) -> str:
    done = subprocess.run(["losetup", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"losetup {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()
