"""Says what a deploy would make or change, and changes nothing."""

import getpass
import os
from dataclasses import dataclass
from pathlib import Path

from trackstack import lock, spec
from trackstack.environment import Environment, Record
from trackstack.errors import UsageError
from trackstack.plan import Difference, Plan, differences, make_plan


@dataclass(frozen=True)
class Intent:
    """What a deploy would do.

    Attributes:
        record: of the environment as it is; None before the first deploy.
        asked: what the next record says was asked.
        effective: the spec with every value decided.
        plan: what would exist.
        plan_changes: what differs on the machine; empty for no change.
        record_changes: what differs only in the record: who is let in, whether it is protected.
    """

    record: Record | None
    asked: spec.Asked
    effective: spec.Spec
    plan: Plan
    plan_changes: list[Difference]
    record_changes: list[Difference]

    @property
    def changes(self) -> list[Difference]:
        """All that differs from what exists; empty for no change."""
        return [*self.plan_changes, *self.record_changes]


def intend(
    environment: Environment, target: str, flags: spec.Asked, file: Path | None = None
) -> Intent:
    """Work out what a deploy would do; flags go before the file, the file before the record.

    Args:
        environment: which may not exist yet.
        target: such as 'local'.
        flags: what was asked on the command line, nested as in a spec.
        file: a spec file; then a key it lacks counts as no longer asked for.

    Raises:
        UsageError: something asked for makes no sense.
    """
    record = environment.record()
    if record is not None and record.plan.target != target:
        raise UsageError(
            f"Environment {environment.name!r} runs on {record.plan.target}, not on {target}.",
            "Give the new one another name with `-e`.",
        )
    recorded = record.asked if record else {}
    asked = spec.merged(recorded if file is None else spec.load(file), flags)
    _fits(asked, environment, target)
    fallback = spec.defaults(target, environment.name, _account(), lock.DEFAULT_MLFLOW)
    decided = record.spec.model_dump() if record else {}
    content = spec.decide(asked, recorded, decided, fallback)
    effective = spec.validate(content, "What was asked")
    plan = make_plan(effective, _packages(effective, record))
    return Intent(
        record=record,
        asked=asked,
        effective=effective,
        plan=plan,
        plan_changes=differences(record.plan if record else None, plan),
        record_changes=_record_differences(record, effective),
    )


def _record_differences(record: Record | None, effective: spec.Spec) -> list[Difference]:
    new = [name for name in effective.users if record is None or name not in record.let_in]
    found = [Difference(key="users", before=None, after=", ".join(new))] if new else []
    before = record.spec.protected if record else False
    if effective.protected != before:
        words = {True: "true", False: "false"}
        found.append(
            Difference(key="protected", before=words[before], after=words[effective.protected])
        )
    return found


def _packages(effective: spec.Spec, record: Record | None) -> str:
    if record is not None and record.spec.server.mlflow == effective.server.mlflow:
        return record.plan.packages
    return lock.for_mlflow(effective.server.mlflow)


def _fits(asked: spec.Asked, environment: Environment, target: str) -> None:
    if asked.get("target", target) != target:
        raise UsageError(f"The spec is for the target {asked['target']!r}, not for {target!r}.")
    if asked.get("environment", environment.name) != environment.name:
        raise UsageError(
            f"The spec is for the environment {asked['environment']!r}, not for "
            f"{environment.name!r}.",
            f"Say `-e {asked['environment']}`, or change the spec.",
        )


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number without a name
        return str(os.getuid())
