"""`trackstack users`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trackstack.cli import console
from trackstack.cli.durations import duration
from trackstack.cli.options import (
    EnvironmentOption,
    JsonOption,
    OptionalUserNames,
    PasswordFileOption,
    ShowPasswordsOption,
    UserNames,
)
from trackstack.errors import UsageError

if TYPE_CHECKING:
    from trackstack.operations.users import Login

ExpiresOption = Annotated[
    datetime | None,
    typer.Option(
        formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="When they are shut out again, in UTC."
    ),
]

app = typer.Typer(
    help="Let people in and out, and give them new passwords.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def add(
    name: UserNames,
    expires: ExpiresOption = None,
    invite: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write what the newcomer needs to know, but for the password."
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
    if invite is not None and len(name) != 1:
        raise UsageError("An invitation is for one person.", "Add them one by one.")
    chosen = environments.find(environment)
    until = _time_to_come(expires)
    if invite is not None:
        from trackstack.operations.invite import write_invitation

        # Before anybody is let in: after that, the password is on its way and nothing may fail.
        write_invitation(chosen, name[0], invite)
    made = users.add(chosen, name, until)
    if invite is not None:
        console.progress(f"{invite} is for {name[0]}; give the password by another way.")
    _tell("Added", made, show_passwords, password_file, json)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False)],
    expires: ExpiresOption = None,
    environment: EnvironmentOption = None,
    json: JsonOption = False,
) -> None:
    """Let in the users of an existing htpasswd file, with their passwords, for 30 days."""
    from trackstack import environment as environments
    from trackstack.operations import users

    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read as text.") from error
    taken = users.take_over(environments.find(environment), text, _time_to_come(expires))
    for each in taken:
        if each.warning:
            console.progress(f"warning: {each.user}'s hash is {each.warning}.")
    if json:
        console.document([{"user": each.user, "warning": each.warning} for each in taken])
    else:
        console.result(f"Let in: {', '.join(each.user for each in taken)}.")


@app.command()
def rotate(
    name: OptionalUserNames = None,
    everybody: Annotated[bool, typer.Option("--all", help="Everybody.")] = False,
    keep_old: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="How long the old password works beside the new one, such as 24h or 90m.",
        ),
    ] = None,
    environment: EnvironmentOption = None,
    show_passwords: ShowPasswordsOption = False,
    password_file: PasswordFileOption = None,
    json: JsonOption = False,
) -> None:
    """Give people new passwords; the old ones are dead at once, or after --keep-old."""
    from trackstack import environment as environments
    from trackstack.operations import users

    console.may_show_passwords(show_passwords, password_file)
    if bool(name) == everybody:
        raise UsageError("Say who, or --all; not both.")
    overlap = duration(keep_old) if keep_old is not None else None
    chosen = environments.find(environment)
    made = users.rotate(chosen, name or users.people(chosen), overlap)
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
    console.result(
        f"{'user':<{width}}  {'created':<16}  {'rotated':<16}  {'last seen':<16}  expires"
    )
    for each in found:
        times = (each.created, each.rotated, each.last_seen, each.expires)
        told = [f"{at.astimezone(UTC):%Y-%m-%d %H:%M}" if at else "never" for at in times]
        if not each.seen_is_known:
            told[2] = "not told yet"
        old = f"  (old password until {each.old_until:%Y-%m-%d %H:%M})" if each.old_until else ""
        console.result(
            "  ".join([f"{each.user:<{width}}", *(f"{at:<16}" for at in told)]).rstrip() + old
        )


def _time_to_come(at: datetime | None) -> datetime | None:
    if at is None:
        return None
    until = at.replace(tzinfo=UTC)
    if until <= datetime.now(UTC):
        raise UsageError(
            f"--expires {until:%Y-%m-%d %H:%M} is past.", "Say a time to come, in UTC."
        )
    return until


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
