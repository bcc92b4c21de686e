"""`trackstack policy`."""

from enum import StrEnum
from typing import Annotated

import typer

from trackstack.cli import console
from trackstack.cli.options import EnvironmentOption


class Whose(StrEnum):
    """Who is to be permitted something."""

    deployer = "deployer"
    user_administrator = "user-administrator"
    viewer = "viewer"


def policy(
    whose: Annotated[Whose, typer.Argument(show_default=False)],
    environment: EnvironmentOption = None,
) -> None:
    """What somebody has to be permitted in the cloud's account, ready to hand to it."""
    from trackstack import environment as environments

    chosen = environments.find(environment)
    console.result(chosen.cloud.policy(whose.value, chosen.existing_record().plan))
