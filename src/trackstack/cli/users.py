"""`trackstack users`."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from trackstack.cli import console
from trackstack.cli.options import (
    EnvironmentOption,
    JsonOption,
    PasswordFileOption,
    ShowPasswordsOption,
    UserNames,
)

if TYPE_CHECKING:
    from pathlib import Path

    from trackstack.operations.users import Login

app = typer.Typer(help="Let people in and out, and give them new passwords.", no_args_is_help=True)


@app.command()
def add(
    name: UserNames,
    expires: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="When they are shut out again, in UTC."
        ),
    ] = None,
    environment: EnvironmentOption = None,
    show_passwords: ShowPasswordsOption = False,
    password_file: PasswordFileOption = None,
    json: JsonOption = False,
) -> None:
    """Let people in, each with a new password."""
    from trackstack import environment as environments
    from trackstack.operations import users

    console.may_show_passwords(show_passwords, password_file)
    until = expires.replace(tzinfo=UTC) if expires else None
    if until is not None and until <= datetime.now(UTC):
        raise typer.BadParameter("that time is past", param_hint="--expires")
    made = users.add(environments.find(environment), name, until)
    _tell("Added", made, show_passwords, password_file, json)


@app.command()
def rotate(
    name: UserNames,
    environment: EnvironmentOption = None,
    show_passwords: ShowPasswordsOption = False,
    password_file: PasswordFileOption = None,
    json: JsonOption = False,
) -> None:
    """Give people new passwords; the old ones are dead at once."""
    from trackstack import environment as environments
    from trackstack.operations import users

    console.may_show_passwords(show_passwords, password_file)
    made = users.rotate(environments.find(environment), name)
    _tell("New passwords for", made, show_passwords, password_file, json)


@app.command()
def remove(
    name: UserNames, environment: EnvironmentOption = None, json: JsonOption = False
) -> None:
    """Shut people out, at once."""
    from trackstack import environment as environments
    from trackstack.operations import users

    users.remove(environments.find(environment), name)
    if json:
        console.document({"removed": name})
    else:
        console.result(f"Removed {', '.join(name)}.")


@app.command("list")
def list_(environment: EnvironmentOption = None, json: JsonOption = False) -> None:
    """Who may enter."""
    from trackstack import environment as environments
    from trackstack.operations import users

    found = users.listed(environments.find(environment))
    if json:
        console.document([each.model_dump(mode="json") for each in found])
        return
    width = max([len("user"), *(len(each.user) for each in found)])
    console.result(f"{'user':<{width}}  {'created':<16}  {'rotated':<16}  expires")
    for each in found:
        expires = f"{each.expires:%Y-%m-%d %H:%M}" if each.expires else "never"
        console.result(
            f"{each.user:<{width}}  {each.created:%Y-%m-%d %H:%M}  {each.rotated:%Y-%m-%d %H:%M}"
            f"  {expires}"
        )


def _tell(
    what: str, made: "list[Login]", show: bool, file: "Path | None", as_document: bool
) -> None:
    if file is not None:
        console.passwords(made, False, file)
    if as_document:
        console.document([login.model_dump() if show else {"user": login.user} for login in made])
    elif file is None:
        console.result(f"{what} {', '.join(login.user for login in made)}; shown only now:")
        console.passwords(made, show, None)
