"""What the machine says of itself, written where the laptop reads it."""

import logging
import re
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from platform import python_version

from trackstack.agent import folders, itself
from trackstack.agent.ensure_release import live_release_id
from trackstack.agent.patches import patches
from trackstack.control.base import ConflictError, ControlStore
from trackstack.desired import Applied, Observed, StepReport, observed_key
from trackstack.errors import TrackstackError

_log = logging.getLogger("trackstack.agent")


class Reporter:
    """Writes the machine's report over whatever is there: only this machine writes it."""

    def __init__(self, store: ControlStore, machine: str) -> None:
        self._store = store
        self._machine = machine
        self._generation = 0
        self._tag: str | None = None

    def write(
        self, healthy: bool, seen: Applied, applied: Applied, steps: Sequence[StepReport]
    ) -> None:
        """Put a report in the store; one that cannot be written is only logged."""
        self._generation += 1
        release = live_release_id()
        report = Observed(
            generation=self._generation,
            machine=self._machine,
            boot=_boot(),
            healthy=healthy,
            seen=seen,
            applied=applied,
            release_id=release,
            versions=_versions(release),
            steps=tuple(steps),
            heartbeat=datetime.now(UTC),
            agent=itself.running(),
            agent_problem=itself.refusal(),
            patches=patches(),
            models=_models(),
        )
        try:
            self._put(report.to_bytes())
        except (TrackstackError, OSError) as error:
            _log.error("the report cannot be written: %s", error)
        else:
            itself.prove()

    def _put(self, data: bytes) -> None:
        key = observed_key(self._machine)
        while True:
            try:
                self._tag = self._store.put(key, data, expect=self._tag)
            except ConflictError:
                stored = self._store.get(key)
                self._tag = stored.tag if stored else None
            else:
                return


def _models() -> tuple[str, ...]:
    if not folders.SERVED.is_dir():
        return ()
    return tuple(sorted(place.name for place in folders.SERVED.iterdir()))


def _versions(release: str | None) -> dict[str, str]:
    found = {"python": python_version(), **_nginx_version()}
    if release is not None:
        for start in (folders.RELEASES / release / "services").glob("mlflow-*.sh"):
            version = re.search(r"MLflow ([0-9.]+[0-9])", start.read_text())
            if version:
                found["mlflow"] = version[1]
    return found


@cache
def _nginx_version() -> dict[str, str]:
    try:
        told = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=False).stderr
    except FileNotFoundError:
        return {}
    version = re.search(r"nginx/([0-9.]+)", told)
    return {"nginx": version[1]} if version else {}


@cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"
