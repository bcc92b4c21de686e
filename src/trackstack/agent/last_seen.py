"""When each user was last let in, by nginx's log."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from trackstack.agent import folders

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass
class RequestsRead:
    """How far this process has read nginx's log.

    Attributes:
        read: how many bytes of each file, by its number on the disk and its first line: a number
            is given again to another file when a file is gone.
    """

    read: dict[tuple[int, bytes], int] = field(default_factory=dict)

    def further(self) -> Iterator[bytes]:
        """The lines since the last look, read to the end; the log may have been rotated since."""
        read: dict[tuple[int, bytes], int] = {}
        for path in request_logs(folders.NGINX_LOG):
            with suppress(FileNotFoundError), path.open("rb") as log:
                this = (os.fstat(log.fileno()).st_ino, log.readline())
                read[this] = log.seek(self.read.get(this, 0))
                for line in log:
                    if line.endswith(b"\n"):  # else it is being written
                        read[this] += len(line)
                        yield line
        self.read = read


@dataclass
class LastSeen:
    """What this process has read of nginx's log.

    Attributes:
        users: when each was last let in.
        told: what was told of it last.
        told_at: when.
    """

    users: dict[str, datetime] = field(default_factory=dict)
    requests: RequestsRead = field(default_factory=RequestsRead)
    told: dict[str, datetime] = field(default_factory=dict)
    told_at: datetime = _NEVER

    def look(self) -> None:
        """Read on where the last look ended."""
        for line in self.requests.further():
            self.users |= last_seen([line])


def request_logs(newest: Path) -> Iterator[Path]:
    """nginx's log as far back as it goes, the oldest file first.

    Args:
        newest: the file that is written to.
    """
    older = [log for log in newest.parent.glob(f"{newest.name}.*") if log.suffix[1:].isdecimal()]
    # Supervisor counts upwards: NAME.2 is older than NAME.1.
    yield from sorted(older, key=lambda log: -int(log.suffix[1:]))
    yield newest


def last_seen(requests: Iterable[str | bytes]) -> dict[str, datetime]:
    """When each user was last let in, from lines of nginx's log, the oldest first."""
    seen: dict[str, datetime] = {}
    for line in requests:
        try:
            entry = json.loads(line)
            if entry["user"]:
                seen[entry["user"]] = datetime.fromisoformat(entry["time"])
        except (ValueError, KeyError, TypeError, RecursionError):
            continue  # a line cut by a full disk or a rotation
    return seen
