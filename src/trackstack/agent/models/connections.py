"""Who is connected to a model's server."""

import sys
import time
from pathlib import Path

from trackstack.agent.machine import wait_for

_CONNECTIONS = Path("/proc/net/unix")
"""https://man7.org/linux/man-pages/man7/unix.7.html; macOS has none."""
_LISTENS = 0x10000
"""The flag of a socket that takes connections, in the kernel's include/linux/net.h."""
_BLIND_SECONDS = 2.0


def wait_until_none(unix_socket: Path, seconds: float) -> None:
    """Wait until nobody is connected to a socket, at most so long."""
    if sys.platform == "linux":
        wait_for(lambda: count(_CONNECTIONS.read_text(), unix_socket) == 0, seconds)
    else:
        time.sleep(min(seconds, _BLIND_SECONDS))


def count(table: str, unix_socket: Path) -> int:
    """How many connections to a socket there are, also those not yet taken up.

    Args:
        table: what the kernel tells of unix sockets.
        unix_socket: its path, as it was opened: before it got its name, by another.
    """
    paths = {str(unix_socket), f"{unix_socket}.new"}
    rows = (line.split(maxsplit=7) for line in table.splitlines()[1:])
    return sum(len(row) == 8 and row[7] in paths and not int(row[3], 16) & _LISTENS for row in rows)
