"""Says who may connect to a cloud's machine, and changes it: one change in place."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from trackstack import names
from trackstack.desired import Part
from trackstack.environment import Environment, Record
from trackstack.errors import UsageError
from trackstack.plan import Plan
from trackstack.spec import CloudSpec
from trackstack.targets.base import Tell


class Allowed(Part):
    """A network that may connect.

    Attributes:
        until: when it no longer may, or None.
    """

    network: str
    until: datetime | None = None


def listed(environment: Environment) -> list[Allowed]:
    """Who may connect now."""
    record, spec = _in_a_cloud(environment)
    lasting = [Allowed(network=network) for network in spec.allow]
    return lasting + [
        Allowed(network=network, until=until)
        for network, until in _unexpired(record).items()
        if network not in spec.allow
    ]


def add(
    environment: Environment,
    network: str,
    lasts: timedelta | None = None,
    tell: Tell = lambda _: None,
) -> list[Allowed]:
    """Let a network connect.

    Args:
        environment: of a cloud.
        network: as `names.client_network` writes it.
        lasts: for how long; for good when None.
        tell: told what the engine does.

    Returns:
        Who may connect now.
    """

    def more(spec: CloudSpec, temporary: dict[str, datetime]) -> list[str]:
        if lasts is None:
            temporary.pop(network, None)
            return [*spec.allow, network] if network not in spec.allow else spec.allow
        if network not in spec.allow:
            temporary[network] = datetime.now(UTC) + lasts
        return spec.allow

    return _change(environment, f"allow {network}", more, tell)


def remove(environment: Environment, network: str, tell: Tell = lambda _: None) -> list[Allowed]:
    """Let a network connect no longer.

    Raises:
        UsageError: it is not among them, or the last one.
    """

    def fewer(spec: CloudSpec, temporary: dict[str, datetime]) -> list[str]:
        known = [*spec.allow, *temporary]
        if network not in known:
            near = names.nearest(network, known)
            raise UsageError(
                f"{network} is not among the networks that may connect.",
                f"Did you mean {near}?" if near else "`trackstack allow list` shows them.",
            )
        temporary.pop(network, None)
        left = [each for each in spec.allow if each != network]
        if not left:
            raise UsageError(
                f"{network} is the only network that may connect for good.",
                "Add another one first.",
            )
        return left

    return _change(environment, f"remove {network}", fewer, tell)


def _change(
    environment: Environment,
    what: str,
    apply: Callable[[CloudSpec, dict[str, datetime]], list[str]],
    tell: Tell,
) -> list[Allowed]:
    with environment.held("changing", f"trackstack {what}"):
        record, spec = _in_a_cloud(environment)
        temporary = _unexpired(record)
        allow = apply(spec, temporary)
        changed = record.model_copy(
            update={
                "asked": {**record.asked, "allow": allow},
                "spec": spec.model_copy(update={"allow": allow}),
                "plan": _with_networks(record.plan, [*allow, *temporary]),
                "temporary": temporary,
            }
        )
        if changed.plan != record.plan or changed.asked != record.asked:
            environment.write_record(changed)
        if record.removed is None:
            # Also when it is recorded so already: a killed command may not have come so far.
            environment.target.make(changed.plan, tell)
    return listed(environment)


def _with_networks(plan: Plan, networks: list[str]) -> Plan:
    content = plan.model_dump()
    content["cloud"]["allow"] = tuple(dict.fromkeys(networks))
    return Plan.model_validate(content)


def _unexpired(record: Record) -> dict[str, datetime]:
    now = datetime.now(UTC)
    return {network: until for network, until in record.temporary.items() if until > now}


def _in_a_cloud(environment: Environment) -> tuple[Record, CloudSpec]:
    record = environment.existing_record()
    if not isinstance(record.spec, CloudSpec):
        raise UsageError(
            f"Environment {environment.name!r} is on this computer, whose own firewall says who "
            "may connect.",
            "Where it listens is `trackstack deploy local --listen ADDRESS`.",
        )
    return record, record.spec
