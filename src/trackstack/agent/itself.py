"""The agent as the machine's boot program sees it: on trial, proven, or in another's way.

On a machine in a cloud the boot program (templates/cloud-init/boot.py) picks the agent, says which
one it is, and keeps a file with these entries:

    kept      the id of the agent that proved itself last
    trial     the agent that has still to do so: its id, which attempt this is, when it began
    refused   the agent that did not, or could not be had: its id, the problem, and the time from
              which it may be tried again, in seconds of the clock, or null for never

An agent on trial is ended by its own alarm, which only its first written report cancels. Where
the kit's own Python runs the agent there is none of this.
"""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from trackstack.desired import Agent
from trackstack.durable import write_durably
from trackstack.errors import TrackstackError

_ID = "TRACKSTACK_AGENT"
_STATE = "TRACKSTACK_AGENT_STATE"


def running() -> str | None:
    """The id of the agent that this process is, or None where the kit's own Python runs it."""
    return os.environ.get(_ID)


def must_leave(wanted: Agent | TrackstackError | None) -> bool:
    """Whether another agent is wanted, and may be tried: the boot program has the next word.

    A refusal is forgotten when this very agent is wanted.
    """
    if running() is None or not isinstance(wanted, Agent):
        return False
    state = _state()
    refused = state.get("refused")
    if wanted.id == running():
        if refused:
            _write({**state, "refused": None})
        return False
    if not refused or refused["agent"] != wanted.id:
        return True
    return refused["again"] is not None and time.time() >= refused["again"]


def refusal() -> str | None:
    """Why the agent that was wanted last does not run, or None."""
    refused = _state().get("refused") if running() else None
    return refused["problem"] if refused else None


def prove() -> None:
    """End the trial, if this is one: a report was written, so laptops reach this agent."""
    if running() is None:
        return
    signal.alarm(0)
    state = _state()
    if state.get("kept") != running() or state.get("trial"):
        _write({**state, "kept": running(), "trial": None, "refused": None})


def _state() -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads(Path(os.environ[_STATE]).read_bytes())
    except FileNotFoundError:
        return {}
    return state


def _write(state: dict[str, Any]) -> None:
    write_durably(Path(os.environ[_STATE]), json.dumps(state).encode())
