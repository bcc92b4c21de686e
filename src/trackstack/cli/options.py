"""The flags that several commands share, each with its rule and its environment variable."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from trackstack import names


def checked(rule: Callable[[str], str]) -> Callable[[str | None], str | None]:
    """A Typer callback from one of the rules in `names`."""

    def callback(value: str | None) -> str | None:
        if value is None:
            return None
        try:
            return rule(value)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error

    return callback


def _checked_users(values: list[str] | None) -> list[str] | None:
    rule = checked(names.user)
    for value in values or []:
        rule(value)
    return values


EnvironmentOption = Annotated[
    str | None,
    typer.Option(
        "-e",
        "--environment",
        metavar="NAME",
        envvar="TRACKSTACK_ENVIRONMENT",
        callback=checked(names.environment),
        help="Which environment; needed only when there are several.",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output.")
]
SpecOption = Annotated[
    Path | None, typer.Option("-f", "--file", metavar="SPEC", help="A spec file: the whole truth.")
]
PortOption = Annotated[
    int | None,
    typer.Option(envvar="TRACKSTACK_PORT", min=1024, max=65535, help="Where it listens. [8080]"),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        envvar="TRACKSTACK_WORKERS",
        min=1,
        max=64,
        help="MLflow's processes. [from memory and cores]",
    ),
]
MlflowOption = Annotated[
    str | None,
    typer.Option(envvar="TRACKSTACK_MLFLOW", metavar="VERSION", help="MLflow's version."),
]
UserOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        callback=_checked_users,
        help="Who is let in at the first deploy; may be repeated. [you]",
    ),
]
ShowPasswordsOption = Annotated[
    bool, typer.Option(help="Print new passwords even where no terminal shows them.")
]
PasswordFileOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write new passwords to this file, for you only."),
]
UserNames = Annotated[
    list[str], typer.Argument(metavar="NAME…", callback=_checked_users, show_default=False)
]


def flags(
    port: int | None, workers: int | None, mlflow: str | None, user: list[str] | None
) -> dict[str, object]:
    """What was said on the command line, nested as in a spec."""
    server = {"port": port, "workers": workers, "mlflow": mlflow}
    said: dict[str, object] = {}
    if any(value is not None for value in server.values()):
        said["server"] = {key: value for key, value in server.items() if value is not None}
    if user:
        said["users"] = user
    return said
