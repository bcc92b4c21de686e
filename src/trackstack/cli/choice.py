"""Which environment a command is about."""

from pathlib import Path

from trackstack import environment as environments
from trackstack import names, spec
from trackstack.environment import Environment
from trackstack.errors import UsageError


def for_deploy(name: str | None, target: str, file: Path | None) -> Environment:
    """The environment to deploy: named by flag or spec, else the target's only one, else new.

    Raises:
        UsageError: the target has several and none was named, or the spec's name is no name.
    """
    if name is None and file is not None:
        name = spec.load(file).get("environment")
    if name is not None:
        return Environment(names.environment(name))
    there = [known for known in environments.all_names() if _target(known) == target]
    if len(there) > 1:
        raise UsageError(
            f"There are several {target} environments: {', '.join(there)}.",
            f"Say which: `-e {there[0]}`.",
        )
    return Environment(there[0] if there else target)


def _target(name: str) -> str | None:
    record = Environment(name).record()
    return record.plan.target if record else None
