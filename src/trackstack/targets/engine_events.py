"""The engine's events in the kit's words: what happens to which resource, and how long it takes."""

import time
from collections.abc import Mapping
from typing import Any, Literal

from trackstack.targets.base import Event, Tell, What
from trackstack.targets.engine_failures import FailedResource, sentence

_WHAT: Mapping[str, What] = {
    "same": "same",
    "create": "make",
    "import": "make",
    "update": "change",
    "replace": "replace",
    "create-replacement": "replace",
    "import-replacement": "replace",
    "delete-replaced": "replace",
    "delete": "remove",
    "refresh": "look",
    "read": "look",
}
_OWN = ("pulumi:pulumi:Stack", "pulumi:providers:")
"""The engine's bookkeeping, which is no resource in the cloud."""


class Listener:
    """Takes the engine's own events, in its thread, and tells the kit's.

    Attributes:
        failed: the resources that the cloud refused, in the order they failed.
    """

    def __init__(self, tell: Tell | None, planning: bool = False) -> None:
        self.failed: list[FailedResource] = []
        self._tell = tell
        self._planning = planning
        self._last: dict[str, Event] = {}
        self._began: dict[str, float] = {}
        self._reasons: dict[str, str] = {}

    @property
    def events(self) -> tuple[Event, ...]:
        """The last event of each resource."""
        return tuple(self._last.values())

    def __call__(self, event: Any) -> None:
        """Take one of the automation API's EngineEvents."""
        if event.resource_pre_event:
            self._step(event.resource_pre_event.metadata, "started")
        elif event.res_outputs_event:
            self._step(event.res_outputs_event.metadata, "done")
        elif event.res_op_failed_event:
            self._step(event.res_op_failed_event.metadata, "failed")
        elif event.diagnostic_event and event.diagnostic_event.severity == "error":
            self._reason(event.diagnostic_event.urn or "", event.diagnostic_event.message)

    def _step(self, metadata: Any, state: Literal["started", "done", "failed"]) -> None:
        what = _WHAT.get(str(getattr(metadata.op, "value", metadata.op)))
        if what is None or metadata.type.startswith(_OWN):
            return
        urn = metadata.urn
        before = self._last.get(urn)
        if before and before.what == "replace":
            # Its parts, the making of the new and the removal of the old, are one to a reader.
            what = "replace"
        if before and before.what != "look" and what == "look":
            return
        if state == "started":
            self._began.setdefault(urn, time.monotonic())
        elif what == "look" and metadata.new is None and metadata.old is not None:
            what = "remove"
        because = tuple(sorted(metadata.diffs or metadata.detailed_diff or ()))
        self._say(
            urn,
            Event(
                resource=urn.split("::")[-1],
                type=metadata.type,
                what=what,
                state="planned" if self._planning else state,
                because=because or (before.because if before else ()),
                seconds=None
                if state == "started" or urn not in self._began
                else time.monotonic() - self._began[urn],
                problem=self._reasons.get(urn) if state == "failed" else None,
            ),
        )

    def _reason(self, urn: str, message: str) -> None:
        """A refusal: it comes before or after the step that failed, or without one."""
        if not urn or urn in self._reasons:
            return
        types, name = urn.split("::")[-2:]
        type_ = types.split("$")[-1]
        if type_ == _OWN[0]:
            return
        self._reasons[urn] = reason = sentence(message)
        self.failed.append(FailedResource(name=name, type=type_, reason=reason))
        last = self._last.get(urn)
        if last and last.state == "failed":
            self._say(urn, last.model_copy(update={"problem": reason}))

    def _say(self, urn: str, event: Event) -> None:
        self._last[urn] = event
        if self._tell:
            self._tell(event)
