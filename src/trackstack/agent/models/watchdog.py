"""Has the server of a model that answers go on answering, whatever is prepared meanwhile."""

import logging
import time
from dataclasses import dataclass, field
from threading import Event, RLock

from trackstack.agent.machine import StepError
from trackstack.agent.models.services import known, pings, served, takes_more_than
from trackstack.agent.models.trouble import Trouble, after, is_long_ago, told_by
from trackstack.agent.models.walls import Walls
from trackstack.desired import ServedModel

START_SECONDS = 300
"""How long a server may take to load its model."""
_MUTE_SECONDS = 30
"""Beyond the time of a request, which may keep a server from answering a ping."""

_log = logging.getLogger("trackstack.models")


@dataclass
class Watchdog:
    """Looks after what serves one model. `look` is called again and again, by one thread.

    Attributes:
        leaves: set when the model is no longer wanted.
        switching: held by whoever has another server take the place of the one that serves.
        healthy: whether that one answers.
        memory_bytes: what it takes, or None when that is not known.
        down: when and why one was last started again, or could not be.
    """

    name: str
    walls: Walls
    leaves: Event
    switching: "RLock" = field(default_factory=RLock)
    healthy: bool = False
    memory_bytes: int | None = None
    down: Trouble | None = None
    _mute_from: float = field(default_factory=lambda: time.monotonic() + START_SECONDS)

    def look(self, wanted: ServedModel) -> None:
        """Start again what died: later and later, when it dies again and again."""
        try:
            with self.switching:
                self.measure(wanted)
                self._mend(wanted)
        except Exception as error:  # the next look must go on
            _log.exception("%s", self.name)
            if (down := self.down) is not None:
                down.reason = told_by(error)

    def measure(self, wanted: ServedModel) -> None:
        """Find out how what serves does."""
        service = served(self.name)
        healthy = service is not None and pings(service)
        memory = self._memory(service) if service is not None else None
        if service != served(self.name):  # another has taken its place meanwhile
            return
        self.healthy, self.memory_bytes = healthy, memory
        if healthy:
            self._mute_from = time.monotonic() + wanted.seconds + _MUTE_SECONDS

    def why_down(self) -> str | None:
        """Why what serves now was started again, or could not be; None when it was not."""
        down = self.down
        return down.reason if down is not None and down.of == served(self.name) else None

    def _memory(self, service: str) -> int | None:
        try:
            return self.walls.memory(service)
        except (StepError, OSError) as error:  # whoever would tell it is away
            _log.warning("%s: %s", self.name, told_by(error))
            return None

    def _mend(self, wanted: ServedModel) -> None:
        service = served(self.name)
        if service is None or self.leaves.is_set():
            return
        ended = "its server ended"
        most = (known(service) or wanted).memory_mb  # its own, and not what a newer one is to have
        if takes_more_than(most, service, self.walls):
            ended = f"its server took more than the {most} MB it may have"
            self.walls.stop(service)
        elif self.walls.running(service):
            if self.healthy or time.monotonic() < self._mute_from:
                return
            ended = "its server answered no more"
            self.walls.stop(service)
        down = self.down
        if down is not None and (down.of != service or is_long_ago(down, time.monotonic())):
            down = None
        if down is None or time.monotonic() > down.again_at:
            self.down = after(down, service, ended, time.monotonic())
            self._mute_from = time.monotonic() + START_SECONDS
            self.walls.start(service)
            if self.leaves.is_set():  # and who had all of them stopped did not see this one
                self.walls.stop(service)
