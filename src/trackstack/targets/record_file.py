"""What targets on this computer share: the record is a file, and there is no cloud to ask."""

from pathlib import Path
from typing import Any

from trackstack.durable import write_durably
from trackstack.plan import Plan

RECORD = "record.json"
"""In the environment's folder."""


class RecordFile:
    """An environment that a folder of this computer holds the record of."""

    def __init__(self, folder: Path) -> None:
        self._record = folder / RECORD

    def read_record(self) -> bytes | None:
        """The record, a file of the environment's folder; see Target."""
        try:
            return self._record.read_bytes()
        except FileNotFoundError:
            return None

    def write_record(self, record: bytes) -> None:
        """Keep the record; the environment's own lock keeps others away. See Target."""
        write_durably(self._record, record)

    def decided(self, content: dict[str, Any], _recorded: Plan | None) -> dict[str, Any]:
        """Nothing has to be looked up; see Target."""
        return content

    def forecast(self, _plan: Plan, _refresh: bool = False) -> None:
        """There is no cloud; see Target."""

    def rendered(self, _plan: Plan) -> dict[str, bytes]:
        """Nothing besides the release; see Target."""
        return {}

    def taken_up(self, plan: Plan, _recorded: Plan | None, _removed: bool) -> Plan:
        """What stays lies where it lay; see Target."""
        return plan

    def renew_agent(self) -> None:
        """The agent is this very kit's; see Target."""
