"""Writes down what an administrator of a cloud has to permit or make."""

from pathlib import Path

from trackstack.environment import Environment
from trackstack.errors import UsageError
from trackstack.plan import Plan


def write_request(plan: Plan, environment: Environment, file: Path) -> None:
    """Write the request for one plan.

    Args:
        plan: of a cloud.
        environment: it is of.
        file: where to.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        file.write_text(environment.cloud.admin_request(plan))
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}.") from error
