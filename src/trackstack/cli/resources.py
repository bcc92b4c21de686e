"""What a cloud's engine does, or would do, in words and lines."""

import sys
from typing import TYPE_CHECKING

from trackstack.cli import console

if TYPE_CHECKING:
    from trackstack.targets.base import Event, Result, What

_WOULD: "dict[What, str]" = {
    "make": "make",
    "change": "change",
    "replace": "REPLACE",
    "remove": "REMOVE",
}
_DOING: "dict[What, str]" = {
    "make": "making",
    "change": "changing",
    "replace": "replacing",
    "remove": "removing",
    "look": "looking at",
}
_DONE: "dict[What, str]" = {
    "make": "made",
    "change": "changed",
    "replace": "replaced",
    "remove": "removed",
}
_MEANS = {
    # From power-on until MLflow answered it took a machine that boots in tests/box 57 to 68 seconds
    # on AWS and 50 to 55 on Google Cloud; how long a cloud takes to make one is not known.
    ("replace", "machine"): (
        "a new machine: no answer while it is made and for about a minute more; "
        "data disk, address, buckets and users stay"
    ),
    ("change", "machine"): (
        "the machine is stopped and started: no answer for some minutes; nothing is lost"
    ),
    ("replace", "data"): "THE DATA DISK: what lies on it would be gone",
    ("replace", "database"): "THE DATABASE: what lies in it would be gone",
    ("replace", "address"): "another address: clients have to be told",
    ("change", "database"): "the database may be away for some minutes; nothing is lost",
    ("change", "machine-group"): "who may connect; nothing is restarted",
    ("change", "firewall"): "who may connect; nothing is restarted",
}


def forecast_lines(forecast: "Result") -> list[str]:
    """What the engine would do, a line each; what is only made is named together."""
    lines = []
    for what, names in forecast.changes.items():
        if what == "make":
            count = f"{len(names)} resource{'' if len(names) == 1 else 's'}"
            lines.append(f"  make     {count}: {', '.join(names)}")
            continue
        for event in forecast.events:
            if event.what == what:
                because = f" ({', '.join(event.because)})" if event.because else ""
                means = _MEANS.get((what, event.resource))
                told = f": {means}" if means else ""
                lines.append(f"  {_WOULD[what]:<8} {event.resource}{because}{told}")
    return lines


class Resources:
    """Shows each resource as it is done; at a terminal also those at work."""

    def __init__(self) -> None:
        self._working: dict[str, str] = {}
        self._shown = False

    def __call__(self, event: "Event") -> None:
        """Take what happens to a resource."""
        if event.what in ("same", "look"):
            return
        if event.state == "started":
            self._working[event.resource] = f"{_DOING[event.what]} {event.resource}"
        else:
            self._working.pop(event.resource, None)
            self._clear()
            if event.state == "failed":
                console.progress(
                    f"  FAILED  {event.resource}: {event.problem or 'no reason given'}"
                )
            else:
                took = f"  {event.seconds:.1f} s" if (event.seconds or 0) >= 0.05 else ""
                console.progress(f"  {_DONE[event.what]:<8}{event.resource}{took}")
        self._show()

    def _show(self) -> None:
        if self._working and sys.stderr.isatty():
            self._clear()
            sys.stderr.write(f"  … {', '.join(self._working.values())}"[:100])
            sys.stderr.flush()
            self._shown = True

    def _clear(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            self._shown = False
