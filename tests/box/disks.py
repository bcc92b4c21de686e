"""Volumes: loop devices, each over a file that outlives the machines it is attached to."""

import os
import subprocess
from pathlib import Path

_BYTES = 10 * 2**30
"""As big as the smallest that a deploy makes; what is not written takes no room."""


class Disk:
    """A volume that is attached.

    Attributes:
        device: of the host, such as /dev/loop0; it is gone when nobody uses it any more.
    """

    def __init__(self, file: Path) -> None:
        if not file.exists():
            with file.open("wb") as made:
                made.truncate(_BYTES)
        self.device = _losetup("--find", "--show", str(file))
        self._held = os.open(self.device, os.O_RDONLY)
        # Held open, it is detached only when the last one closes it: this program too.
        _losetup("--detach", self.device)

    def release(self) -> None:
        """Let go of it; it stays as long as a machine has it mounted."""
        os.close(self._held)


def _losetup(*arguments: str) -> str:
    done = subprocess.run(["losetup", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"losetup {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()
