"""The resource graph that the programs declare for a plan, as the real engine plans it."""

import json
from pathlib import Path
from typing import Any

from pulumi import automation as auto

from engine import wire


def graph(stack: auto.Stack, file: Path) -> str:
    """Each resource with its inputs and what it waits for; a value that is not known yet as '?'."""
    stack.preview(plan=str(file))
    planned = json.loads(file.read_text())["resourcePlans"]
    resources = [_resource(urn, plan["goal"]) for urn, plan in planned.items() if _counts(urn)]
    resources.sort(key=lambda resource: (resource["type"], resource["name"]))
    return json.dumps(resources, indent=1, ensure_ascii=False) + "\n"


def _counts(urn: str) -> bool:
    return "pulumi:pulumi:Stack" not in urn


def _resource(urn: str, goal: dict[str, Any]) -> dict[str, Any]:
    after = {_name(each) for each in goal.get("dependencies") or []}
    options = {
        option: goal[option]
        for option in ("protect", "deleteBeforeReplace", "ignoreChanges", "retainOnDelete")
        if goal.get(option)
    }
    return {
        "name": _name(urn),
        "type": goal["type"],
        "after": sorted(after),
        **options,
        "inputs": _shown(goal["inputDiff"].get("adds", {})),
    }


def _name(urn: str) -> str:
    return urn.rsplit("::", maxsplit=1)[-1]


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        # What is secret is encrypted, by another nonce each time.
        if "ciphertext" in value:
            return "secret"
        return {key: _shown(v) for key, v in sorted(value.items()) if not key.startswith("__")}
    if isinstance(value, list):
        return [_shown(v) for v in value]
    return _document(value) if isinstance(value, str) else value


def _document(text: str) -> Any:
    """A policy as the JSON that it is."""
    if text == wire.UNKNOWN:
        return "?"
    return json.loads(text) if text.startswith("{") else text
