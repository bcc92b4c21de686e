"""`trackstack env`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from trackstack import names
from trackstack.cli import console
from trackstack.cli.login import ask_unknown
from trackstack.cli.options import EnvironmentOption, JsonOption, checked


class Shell(StrEnum):
    """What the lines are for."""

    bash = "bash"
    fish = "fish"
    powershell = "powershell"
    python = "python"


def env(
    user: Annotated[
        str | None,
        typer.Argument(metavar="[USER]", callback=checked(names.user), show_default=False),
    ] = None,
    shell: Annotated[Shell, typer.Option(help="What the lines are for.")] = Shell.bash,
    dotenv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a .env file, for you only.")
    ] = None,
    environment: EnvironmentOption = None,
    json: JsonOption = False,
) -> None:
    """What an MLflow client needs: eval "$(trackstack env)"."""
    from trackstack import environment as environments
    from trackstack.operations.env import as_shell, client_variables, write_dotenv

    variables = client_variables(environments.find(environment), user, ask_unknown)
    if dotenv is not None:
        write_dotenv(variables, dotenv)
        console.progress(f"Written to {dotenv}, readable for you only.")
    elif json:
        console.document(variables)
    else:
        console.result(as_shell(variables, shell.value))
