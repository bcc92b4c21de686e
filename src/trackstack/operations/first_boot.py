"""Reads on its console why a cloud's machine, which has no agent yet, does not get one."""

import re
import time

from trackstack.environment import Environment
from trackstack.errors import NotProvenError, TrackstackError

_LOOK_SECONDS = 10.0
_COMPLAINTS = 6
"""So many in a row are no hiccup: an identity that is new takes its cloud some seconds, and the
machine asks again after 1, 2, 4, 5, 5 seconds."""
_SHOWN_LINES = 12
# Not what is missing in the store: a machine that is made before its database waits for that, as
# long as the database takes, and a cloud may show it late.
_COMPLAINT = re.compile(r"trackstack waits: (?!HTTP Error 404)[^\r\n]+")


class FirstBoot:
    """What a machine says from now on."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        # What it said before this deploy may be mended by now.
        self._before = len(_COMPLAINT.findall(self._console()))
        self._next_look = time.monotonic() + _LOOK_SECONDS

    def must_get_on(self) -> None:
        """Look now and then whether it does.

        Raises:
            NotProvenError: what the machine complains of.
        """
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _LOOK_SECONDS
        console = self._console()
        new = _COMPLAINT.findall(console)[self._before :]
        if len(new) >= _COMPLAINTS:
            said = console[: console.rindex(new[-1])].strip().splitlines()[-_SHOWN_LINES:]
            raise NotProvenError(
                f"The machine's first boot does not get on: {new[-1].partition(': ')[2]}."
                + "".join(f"\n    {line}" for line in said),
                "Mend the cause; the same command then goes on from there. All that the machine "
                f"says: `trackstack logs console -e {self._environment.name}`.",
            )

    def _console(self) -> str:
        # A cloud shows it late, and not of every kind of machine: then the wait is without it.
        try:
            return self._environment.cloud.console(self._environment.outputs.machine)
        except TrackstackError:
            return ""
