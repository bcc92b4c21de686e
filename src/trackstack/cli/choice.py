"""Which environment a command is about."""

from pathlib import Path

from trackstack import environment as environments
from trackstack import names, spec
from trackstack.environment import Environment
from trackstack.errors import UsageError
from trackstack.place import Place


def for_deploy(name: str | None, target: str, file: Path | None) -> Environment:
    """The environment to deploy: named by flag or spec, else the target's only one, else new.

    Raises:
        UsageError: the target has several and none was named, or the spec's name is no name.
    """
    return Environment(_name(name, target, file), kind=target)


def for_cloud(
    name: str | None, target: str, file: Path | None, said: spec.Asked, profile: str | None
) -> Environment:
    """The environment to deploy or plan in a cloud, new or known to this computer or the account.

    Args:
        name: as asked.
        target: 'aws' or 'gcp'.
        file: a spec file.
        said: what flags asked for, nested as in a spec.
        profile: the AWS profile, or None.

    Raises:
        UsageError: it is known in another place, or no region is known.
        MissingError: the cloud's tools or credentials are missing.
    """
    from trackstack.operations.places import locate

    named = _name(name, target, file)
    asked = {**({} if file is None else spec.load(file, target)), **said}
    zone = asked.get("zone")
    region = asked.get("region") or (zone.rpartition("-")[0] if zone else None)
    known = Environment(named).place
    if known is not None and known.target != target:
        raise _elsewhere(named, known)
    place = locate(
        target,
        region or (known.region if known else None),
        profile or (known.profile if known else None),
        asked.get("account") or asked.get("project") or (known.account if known else None),
    )
    if known is not None and known.region != place.region:
        raise _elsewhere(named, known)
    return Environment(named, place)


def _elsewhere(name: str, known: Place) -> UsageError:
    return UsageError(
        f"Environment {name!r} is in {known.told}, and stays there.",
        "Give the new one another name with `-e`.",
    )


def _name(name: str | None, target: str, file: Path | None) -> str:
    if name is None and file is not None:
        name = spec.load(file, target).get("environment")
    if name is not None:
        return names.environment(name)
    there = [known for known in environments.all_names() if _target(known) == target]
    if len(there) > 1:
        raise UsageError(
            f"There are several {target} environments: {', '.join(there)}.",
            f"Say which: `-e {there[0]}`.",
        )
    return there[0] if there else target


def _target(name: str) -> str | None:
    known = Environment(name)
    if known.place is not None:
        return known.place.target
    record = known.record()
    return record.plan.target if record else None
