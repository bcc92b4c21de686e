"""`trackstack deploy TARGET`."""

from pathlib import Path
from typing import TYPE_CHECKING

from trackstack.cli import console
from trackstack.cli.networks import network_of_caller, networks_said
from trackstack.cli.options import (
    AllowAnywhereOption,
    EnvironmentOption,
    JsonOption,
    PasswordFileOption,
    ProfileOption,
    RefreshOption,
    ShowPasswordsOption,
    SpecOption,
    YesOption,
)
from trackstack.cli.spec_flags import with_spec_flags

if TYPE_CHECKING:
    from trackstack.environment import Environment
    from trackstack.operations.deploy import Deployed
    from trackstack.operations.plan import Intent
    from trackstack.operations.users import Login
    from trackstack.spec import Asked
    from trackstack.targets.base import Result


@with_spec_flags("local")
def local(
    *,
    asked: "Asked",
    environment: EnvironmentOption = None,
    file: SpecOption = None,
    show_passwords: ShowPasswordsOption = False,
    password_file: PasswordFileOption = None,
    json: JsonOption = False,
) -> None:
    """A tracking server on this computer: nginx with a login, MLflow, SQLite; no cloud, no root.

    Run it again to change something, or after a restart of the computer.
    """
    _here("local", asked, environment, file, show_passwords, password_file, json)


@with_spec_flags("compose")
def compose(
    *,
    asked: "Asked",
    environment: EnvironmentOption = None,
    file: SpecOption = None,
    show_passwords: ShowPasswordsOption = False,
    password_file: PasswordFileOption = None,
    json: JsonOption = False,
) -> None:
    """A workspace in this computer's Docker: the server, PostgreSQL, SFTP, and JupyterLab.

    Run it again to change something; Docker starts it again with the computer.
    """
    _here("compose", asked, environment, file, show_passwords, password_file, json)


def _here(
    target: str,
    asked: "Asked",
    environment: str | None,
    file: Path | None,
    show_passwords: bool,
    password_file: Path | None,
    json: bool,
) -> None:
    from trackstack.cli.choice import for_deploy
    from trackstack.cli.resources import Resources
    from trackstack.operations.deploy import Watcher, deploy

    console.may_write_passwords(password_file)
    chosen = for_deploy(environment, target, file)
    watcher = Watcher(
        on_intent=lambda intent, _: _announce(chosen, intent),
        on_event=Resources(),
        on_logins=lambda logins: _write(logins, password_file),
        on_steps=console.Steps(),
        on_check=console.check_line,
    )
    done = deploy(chosen, target, asked, file, watcher)
    _finish(done, show_passwords, password_file is not None, json)


@with_spec_flags("aws")
def aws(
    *,
    asked: "Asked",
    environment: EnvironmentOption = None,
    file: SpecOption = None,
    profile: ProfileOption = None,
    allow_anywhere: AllowAnywhereOption = False,
    refresh: RefreshOption = False,
    yes: YesOption = False,
    show_passwords: ShowPasswordsOption = False,
    password_file: PasswordFileOption = None,
    json: JsonOption = False,
) -> None:
    """A team's tracking server on AWS: a machine, buckets, a database, TLS, a login.

    Run it again to change something; what nobody asks to change stays.
    """
    _in_a_cloud(
        "aws",
        networks_said(asked, allow_anywhere),
        environment,
        file,
        profile,
        refresh=refresh,
        yes=yes,
        show_passwords=show_passwords,
        password_file=password_file,
        json=json,
    )


@with_spec_flags("gcp")
def gcp(
    *,
    asked: "Asked",
    environment: EnvironmentOption = None,
    file: SpecOption = None,
    allow_anywhere: AllowAnywhereOption = False,
    refresh: RefreshOption = False,
    yes: YesOption = False,
    show_passwords: ShowPasswordsOption = False,
    password_file: PasswordFileOption = None,
    json: JsonOption = False,
) -> None:
    """A team's tracking server on Google Cloud: a machine, buckets, a database, TLS, a login.

    Run it again to change something; what nobody asks to change stays.
    """
    _in_a_cloud(
        "gcp",
        networks_said(asked, allow_anywhere),
        environment,
        file,
        None,
        refresh=refresh,
        yes=yes,
        show_passwords=show_passwords,
        password_file=password_file,
        json=json,
    )


def _in_a_cloud(
    target: str,
    asked: "Asked",
    environment: str | None,
    file: Path | None,
    profile: str | None,
    *,
    refresh: bool,
    yes: bool,
    show_passwords: bool,
    password_file: Path | None,
    json: bool,
) -> None:
    from trackstack.cli.choice import for_cloud
    from trackstack.cli.resources import Resources
    from trackstack.operations.deploy import Watcher, deploy

    console.may_write_passwords(password_file)
    chosen = for_cloud(environment, target, file, asked, profile)
    _have_engine(chosen)
    watcher = Watcher(
        on_intent=lambda intent, forecast: _agree(chosen, intent, forecast, yes),
        on_event=Resources(),
        on_logins=lambda logins: _write(logins, password_file),
        on_steps=console.Steps(),
        on_check=console.check_line,
    )
    done = deploy(
        chosen, target, asked, file, watcher, own_network=network_of_caller(), refresh=refresh
    )
    _finish(done, show_passwords, password_file is not None, json)


def _have_engine(environment: "Environment") -> None:
    """Offer to download Pulumi's program where it is missing; without a terminal, only say so."""
    problem = environment.cloud.engine_problem()
    if problem is None:
        return
    offer = f"{problem.sentence} Download it from Pulumi into a folder of trackstack's own?"
    if not (console.can_ask() and console.agrees(offer)):
        raise problem
    environment.cloud.install_engine()


def _agree(
    environment: "Environment", intent: "Intent", forecast: "Result | None", yes: bool
) -> None:
    """Say what will be made or changed, and ask; nothing to change is nothing to ask."""
    from trackstack.cli.resources import forecast_lines

    _announce(environment, intent)
    lines = forecast_lines(forecast) if forecast else []
    for line in lines:
        console.progress(line)
    if not yes and (intent.changes or lines):
        console.must_agree("Go ahead?")


def _write(logins: "list[Login]", password_file: Path | None) -> None:
    if password_file is not None:
        console.passwords(logins, False, password_file)


def _finish(done: "Deployed", show_passwords: bool, in_file: bool, json: bool) -> None:
    if json:
        console.document(_as_document(done, show_passwords))
    else:
        _tell(done, show_passwords, in_file)


def _announce(environment: "Environment", intent: "Intent") -> None:
    where = f"environment {environment.name!r} {environment.target.where}"
    if environment.place is not None and environment.place.who:
        where += f", as {environment.place.who}"
    if intent.record is None:
        console.progress(f"NEW {where}:")
    elif intent.changes:
        console.progress(f"CHANGE of {where}:")
    for line in [*console.changes(intent.changes), *intent.left_behind]:
        console.progress(line)


def _tell(done: "Deployed", show_passwords: bool, in_file: bool) -> None:
    call = console.me()
    if done.taken_up is not None:
        runs = "runs unknown" if done.taken_up.runs is None else f"{done.taken_up.runs:,} runs"
        console.result(f"\nTaken up again as it was: {runs}, {done.taken_up.people} users.")
    if not (done.changes or done.started or done.logins or done.taken_up):
        console.result(f"Nothing changed. {done.url} is up, and asks for a login.")
    else:
        console.result(f"\nMLflow is at {done.url}")
    if done.workspace:
        console.result(f"JupyterLab is at {done.workspace.url}")
        console.result(f"`{call} status -e {done.environment}` shows the token that it asks for.")
    if done.at_login:
        console.result(done.at_login)
    if done.receipt.from_machine:
        console.result(
            "It does not let this computer in, so its machine looked at itself. "
            f"`{call} allow add me -e {done.environment}` lets this computer in."
        )
    if done.logins and not in_file and (show_passwords or console.at_terminal()):
        console.result("\nWho is let in, with a password that is shown only now:")
        console.passwords(done.logins, show_passwords, None)
    elif done.logins and not in_file:
        console.progress(
            "New passwords are not shown without a terminal; "
            f"`{call} users rotate NAME --show-passwords` makes others."
        )
    if done.owner:
        console.result(f"\nFor a client, as {done.owner}:\n")
        console.result(f'  eval "$({call} env -e {done.environment})"')


def _as_document(done: "Deployed", show_passwords: bool) -> dict[str, object]:
    return {
        "environment": done.environment,
        "url": done.url,
        "changes": [each.model_dump() for each in done.changes],
        "started": done.started,
        **({"jupyterlab": done.workspace.url} if done.workspace else {}),
        "at_login": done.at_login,
        "users": [
            login.model_dump() if show_passwords else {"user": login.user} for login in done.logins
        ],
        "receipt": done.receipt.model_dump(mode="json"),
    }
