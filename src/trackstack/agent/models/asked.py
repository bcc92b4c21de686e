"""How often and how fast served models answered, by nginx's log."""

import json
import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

from trackstack.agent.last_seen import RequestsRead

_LAST = 1000
_QUESTION = re.compile(r"/serve/([a-z0-9-]+)/invocations")
_MARK = b'"/serve/'


@dataclass
class Asked:
    """What this process has read of requests to models.

    Attributes:
        counts: how many each model was asked, and let in for.
        seconds: how long its last ones took.
    """

    counts: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, deque[float]] = field(default_factory=dict)
    _requests: RequestsRead = field(default_factory=RequestsRead)

    def look(self) -> None:
        """Read on where the last look ended."""
        self.take(self._requests.further())

    def take(self, lines: Iterable[bytes]) -> None:
        """Count lines of nginx's log."""
        for line in lines:
            if _MARK not in line:
                continue
            try:
                entry = json.loads(line)
                name = _QUESTION.fullmatch(entry["path"])
                if name is None or entry["method"] != "POST" or not entry["user"]:
                    continue
                took = float(entry["seconds"])
            except (ValueError, KeyError, TypeError, RecursionError):
                continue  # a line cut by a full disk or a rotation
            self.counts[name[1]] = self.counts.get(name[1], 0) + 1
            self.seconds.setdefault(name[1], deque(maxlen=_LAST)).append(took)

    def p50_ms(self, name: str) -> float | None:
        """The median time of a model's last thousand requests, in milliseconds."""
        seconds = self.seconds.get(name)
        return round(median(seconds) * 1000, 1) if seconds else None
