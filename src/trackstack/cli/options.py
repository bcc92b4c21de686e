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


def checked_each(rule: Callable[[str], str]) -> Callable[[list[str] | None], list[str] | None]:
    """A Typer callback from one of the rules in `names`, for a flag that may be repeated."""
    check = checked(rule)

    def callback(values: list[str] | None) -> list[str] | None:
        return [str(check(value)) for value in values] if values else values

    return callback


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
UrlOption = Annotated[
    str | None,
    typer.Option("--url", metavar="ADDRESS", help="Any MLflow server, whoever deployed it."),
]
UrlUserOption = Annotated[
    str | None,
    typer.Option(
        "--user",
        metavar="NAME",
        help="A login there; its password is asked for, or taken from TRACKSTACK_PASSWORD.",
    ),
]
CaOption = Annotated[
    Path | None,
    typer.Option(
        "--ca", metavar="FILE", exists=True, dir_okay=False, help="Whose certificates to trust."
    ),
]
SpecOption = Annotated[
    Path | None, typer.Option("-f", "--file", metavar="SPEC", help="A spec file: the whole truth.")
]
ShowPasswordsOption = Annotated[
    bool, typer.Option(help="Print new passwords even where no terminal shows them.")
]
PasswordFileOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write new passwords to this file, for you only."),
]
OptionalUserNames = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME…]", callback=checked_each(names.user), show_default=False),
]
UserNames = Annotated[
    list[str],
    typer.Argument(metavar="NAME…", callback=checked_each(names.user), show_default=False),
]
ProfileOption = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="NAME",
        envvar="AWS_PROFILE",
        help="The AWS profile with the credentials; kept on this computer.",
    ),
]
AllowAnywhereOption = Annotated[
    bool, typer.Option("--allow-anywhere", help="Everybody may connect, and then has to log in.")
]
RefreshOption = Annotated[
    bool, typer.Option("--refresh", help="Look first at what was changed in the cloud by hand.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
RegionOption = Annotated[
    str | None,
    typer.Option(
        "--region", metavar="REGION", help="Where in the cloud. [the profile's, the shell's]"
    ),
]
CloudOption = Annotated[
    str | None,
    typer.Option("--target", metavar="aws|gcp", help="Which cloud. [each that can be asked]"),
]
