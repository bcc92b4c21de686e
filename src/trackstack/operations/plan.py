"""Says what a deploy would make or change, and changes nothing."""

import getpass
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from trackstack import lock, spec, user_data
from trackstack.environment import Environment, Record
from trackstack.errors import UsageError
from trackstack.operations import store_credentials
from trackstack.plan import Difference, Plan, control_address, differences, make_plan


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


def nobody_named() -> str:
    """Where no terminal says whose network may connect.

    Raises:
        UsageError: always.
    """
    raise UsageError(
        "Nobody has said who may connect.",
        "Say `--allow NETWORK`, such as `--allow 198.51.100.0/24`, or `--allow-anywhere`.",
    )


def intend(
    environment: Environment,
    target: str,
    flags: spec.Asked,
    file: Path | None = None,
    own_network: Callable[[], str] = nobody_named,
) -> Intent:
    """Work out what a deploy would do; flags go before the file, the file before the record.

    Args:
        environment: which may not exist yet.
        target: such as 'local'.
        flags: what was asked on the command line, nested as in a spec.
        file: a spec file; then a key it lacks counts as no longer asked for.
        own_network: who may connect to a cloud's machine when nobody was named, ever.

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
    below = recorded if file is None else spec.load(file, target)
    asked = spec.merged(spec.without_other_tls(below, flags), flags)
    _fits(asked, environment, target)
    fallback = spec.defaults(target, environment.name, _account(), lock.DEFAULT_MLFLOW)
    decided = record.spec.model_dump() if record else {}
    content = spec.decide(asked, recorded, decided, fallback)
    content = environment.target.decided(content, record.plan if record else None)
    if content.get("allow", ()) is None:
        content["allow"] = [own_network()]
    effective = spec.validate(content, "What was asked")
    _same_stores(record, effective)
    credentials, given = _credentials(environment, record, effective)
    plan = make_plan(
        effective,
        _packages(effective, record),
        given,
        _user_data(effective, record),
        _networks_for_now(record),
        jupyter_packages=_jupyter_packages(effective, record),
    )
    plan = environment.target.taken_up(
        plan, record.plan if record else None, bool(record and record.removed)
    )
    return Intent(
        record=record,
        asked=asked,
        effective=effective,
        plan=plan,
        store_credentials=credentials,
        drivers=_drivers(effective),
        left_behind=_left_behind(record, effective),
        plan_changes=differences(record.plan if record else None, plan),
        record_changes=_record_differences(record, effective),
    )


def _credentials(
    environment: Environment, record: Record | None, effective: spec.Spec
) -> tuple[dict[str, str], int]:
    """What opens outer stores, and how often it was given; a cloud's machine has an identity."""
    if not isinstance(effective, spec.LocalSpec | spec.ComposeSpec):
        return {}, 0
    kept = environment.target.store_credentials()
    same = {}
    if record and isinstance(record.spec, spec.LocalSpec | spec.ComposeSpec):
        same = store_credentials.of_same(kept, record.spec.stores, effective.stores)
    credentials = store_credentials.find(effective.stores, os.environ, Path.home(), same)
    given = record.plan.mlflow.secrets if record else 0
    return credentials, given + 1 if credentials != kept else given


def _user_data(effective: spec.Spec, record: Record | None) -> str:
    """What a cloud's machine is started with: once recorded, a newer kit changes nothing of it."""
    if not isinstance(effective, spec.AwsSpec | spec.GcpSpec):
        return ""
    if record and record.plan.cloud:
        return record.plan.cloud.user_data
    return user_data.render_user_data(effective.target, control_address(effective))


def _networks_for_now(record: Record | None) -> list[str]:
    now = datetime.now(UTC)
    temporary = record.temporary if record else {}
    return [network for network, until in temporary.items() if until > now]


def _record_differences(record: Record | None, effective: spec.Spec) -> list[Difference]:
    new = [name for name in effective.users if record is None or name not in record.let_in]
    found = [Difference(key="users", before=None, after=", ".join(new))] if new else []
    words = {True: "true", False: "false"}
    for key in ("protected", "at_login"):
        before = getattr(record.spec, key, False) if record else False
        after = getattr(effective, key, False)
        if after != before:
            found.append(Difference(key=key, before=words[before], after=words[after]))
    return found


def _packages(effective: spec.Spec, record: Record | None) -> str:
    wanted = effective.server
    drivers = _drivers(effective)
    if record is not None:
        had = (record.spec.server.mlflow, record.spec.server.extra_packages)
        same_drivers = _drivers(record.spec) == drivers
        if same_drivers and had == (wanted.mlflow, wanted.extra_packages):
            return record.plan.packages
    return lock.for_mlflow(wanted.mlflow, [*drivers, *wanted.extra_packages])


def _jupyter_packages(effective: spec.Spec, record: Record | None) -> str:
    if not isinstance(effective, spec.ComposeSpec):
        return ""
    wanted = effective.server
    if record and record.plan.compose:
        had = record.spec.server
        if (had.mlflow, had.extra_packages) == (wanted.mlflow, wanted.extra_packages):
            return record.plan.compose.jupyter_packages
    # What is a plugin of the server's may be one of its client's too.
    return lock.for_mlflow(wanted.mlflow, [*lock.JUPYTER, *wanted.extra_packages])


def _drivers(effective: spec.Spec) -> list[str]:
    bucket = {"s3": lock.S3_CLIENT, "gs": lock.GCS_CLIENT}
    if isinstance(effective, spec.ComposeSpec):
        bucket_name = effective.stores.bucket
        store = bucket[bucket_name.partition(":")[0]] if bucket_name else lock.SFTP_CLIENT
        return [lock.POSTGRESQL_DRIVER, store]
    if not isinstance(effective, spec.LocalSpec):
        # Both, whatever the database: so that one lock fits every environment of a cloud.
        return [lock.POSTGRESQL_DRIVER, bucket["s3" if effective.target == "aws" else "gs"]]
    stores = effective.stores
    needed = [lock.POSTGRESQL_DRIVER] if stores.database else []
    return needed + ([bucket[stores.artifacts.partition(":")[0]]] if stores.artifacts else [])


def _same_stores(record: Record | None, effective: spec.Spec) -> None:
    """Refuse to leave behind what is stored: nothing moves it from one kind to the other."""
    if record is None:
        return
    if isinstance(record.spec, spec.CloudSpec) and isinstance(effective, spec.CloudSpec):
        _same_kind_of_database(record.spec, effective)
        return
    of_this_computer = (spec.LocalSpec, spec.ComposeSpec)
    if not isinstance(record.spec, of_this_computer) or not isinstance(effective, of_this_computer):
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


def _same_kind_of_database(before: spec.CloudSpec, after: spec.CloudSpec) -> None:
    had, wanted = before.database.kind, after.database.kind
    if had != wanted:
        raise UsageError(
            f"Environment {before.environment!r} keeps its runs in {had}, and nothing moves "
            f"them to {wanted}: they would be left behind.",
            f"Deploy a new environment with `-e NAME --database {wanted}`, copy what you need with "
            "the package mlflow-export-import, then destroy this one.",
        )


def _left_behind(record: Record | None, effective: spec.Spec) -> list[str]:
    """Tell what stays in the store of before: nothing moves it to one of the same kind either."""
    of_this_computer = (spec.LocalSpec, spec.ComposeSpec)
    if record is None or not isinstance(record.spec, of_this_computer):
        return []
    if not isinstance(effective, of_this_computer):
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
