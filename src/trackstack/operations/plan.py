"""Says what a deploy would make or change, and changes nothing."""

import getpass
import os
from dataclasses import dataclass, field
from pathlib import Path

from trackstack import lock, spec
from trackstack.environment import Environment, Record
from trackstack.errors import UsageError
from trackstack.operations import store_credentials
from trackstack.plan import Difference, Plan, differences, make_plan


@dataclass(frozen=True)
class Intent:
    """What a deploy would do.

    Attributes:
        record: of the environment as it is; None before the first deploy.
        asked: what the next record says was asked.
        effective: the spec with every value decided.
        plan: what would exist.
        store_credentials: variables that open an outer database or bucket; secret.
        drivers: packages that open them.
        left_behind: a sentence for each store whose content the server would no longer find.
        plan_changes: what differs on the machine; empty for no change.
        record_changes: what differs only in the record: who is let in, whether it is protected,
            whether it starts at login.
    """

    record: Record | None
    asked: spec.Asked
    effective: spec.Spec
    plan: Plan
    store_credentials: dict[str, str] = field(repr=False)
    drivers: list[str]
    left_behind: list[str]
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
    below = recorded if file is None else spec.load(file)
    asked = spec.merged(spec.without_other_tls(below, flags), flags)
    _fits(asked, environment, target)
    fallback = spec.defaults(target, environment.name, _account(), lock.DEFAULT_MLFLOW)
    decided = record.spec.model_dump() if record else {}
    content = spec.decide(asked, recorded, decided, fallback)
    effective = spec.validate(content, "What was asked")
    _same_stores(record, effective)
    kept = environment.target.store_credentials()
    same = store_credentials.of_same(kept, record.spec.stores, effective.stores) if record else {}
    credentials = store_credentials.find(effective.stores, os.environ, Path.home(), same)
    given = record.plan.mlflow.secrets if record else 0
    if credentials != kept:
        given += 1
    plan = make_plan(effective, _packages(effective, record), given)
    return Intent(
        record=record,
        asked=asked,
        effective=effective,
        plan=plan,
        store_credentials=credentials,
        drivers=_drivers(effective.stores),
        left_behind=_left_behind(record, effective),
        plan_changes=differences(record.plan if record else None, plan),
        record_changes=_record_differences(record, effective),
    )


def _record_differences(record: Record | None, effective: spec.Spec) -> list[Difference]:
    new = [name for name in effective.users if record is None or name not in record.let_in]
    found = [Difference(key="users", before=None, after=", ".join(new))] if new else []
    words = {True: "true", False: "false"}
    for key in ("protected", "at_login"):
        before = getattr(record.spec, key) if record else False
        after = getattr(effective, key)
        if after != before:
            found.append(Difference(key=key, before=words[before], after=words[after]))
    return found


def _packages(effective: spec.Spec, record: Record | None) -> str:
    wanted = effective.server
    drivers = _drivers(effective.stores)
    if record is not None:
        had = (record.spec.server.mlflow, record.spec.server.extra_packages)
        same_drivers = _drivers(record.spec.stores) == drivers
        if same_drivers and had == (wanted.mlflow, wanted.extra_packages):
            return record.plan.packages
    return lock.for_mlflow(wanted.mlflow, [*drivers, *wanted.extra_packages])


def _drivers(stores: spec.Stores) -> list[str]:
    needed = [lock.POSTGRESQL_DRIVER] if stores.database else []
    if stores.artifacts:
        bucket = {"s3": lock.S3_CLIENT, "gs": lock.GCS_CLIENT}
        needed.append(bucket[stores.artifacts.partition(":")[0]])
    return needed


def _same_stores(record: Record | None, effective: spec.Spec) -> None:
    """Refuse to leave behind what is stored: nothing moves it from one kind to the other."""
    if record is None:
        return
    before, after = record.spec.stores, effective.stores
    for what, had, wanted in (
        ("database", before.database, after.database),
        ("artifacts", before.artifacts, after.artifacts),
    ):
        if bool(had) != bool(wanted):
            kinds = {True: "outside", False: "in its own folder"}
            raise UsageError(
                f"Environment {record.spec.environment!r} keeps its {what} {kinds[bool(had)]}, and "
                f"nothing moves them {kinds[bool(wanted)]}: they would be left behind.",
                "Deploy a new environment with `-e NAME`, and copy what you need into it.",
            )


def _left_behind(record: Record | None, effective: spec.Spec) -> list[str]:
    """Tell what stays in the store of before: nothing moves it to one of the same kind either."""
    if record is None:
        return []
    before, after = record.spec.stores, effective.stores
    told = "{what} stay in {where}: nothing moves them, and this server will not show them."
    left = [("The runs", before.database)] if before.database != after.database else []
    if (before.artifacts, before.artifacts_endpoint) != (after.artifacts, after.artifacts_endpoint):
        left.append(("The artifacts", before.artifacts))
    return [told.format(what=what, where=where) for what, where in left if where]


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
