"""`trackstack deploy TARGET`."""

from typing import TYPE_CHECKING

from trackstack.cli import console
from trackstack.cli.options import (
    EnvironmentOption,
    JsonOption,
    PasswordFileOption,
    ShowPasswordsOption,
    SpecOption,
)
from trackstack.cli.spec_flags import with_spec_flags

if TYPE_CHECKING:
    from trackstack.operations.deploy import Deployed
    from trackstack.operations.plan import Intent
    from trackstack.spec import Asked


@with_spec_flags
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
    from trackstack.cli.choice import for_deploy
    from trackstack.operations.deploy import Watcher, deploy

    console.may_write_passwords(password_file)
    chosen = for_deploy(environment, "local", file)
    watcher = Watcher(
        on_intent=lambda intent: _announce(chosen.name, intent),
        on_steps=console.Steps(),
        on_check=console.check_line,
    )
    done = deploy(chosen, "local", asked, file, watcher)
    if password_file is not None:
        console.passwords(done.logins, False, password_file)
    if json:
        console.document(_as_document(done, show_passwords))
    else:
        _tell(done, show_passwords, password_file is not None)


def _announce(name: str, intent: "Intent") -> None:
    where = f"environment {name!r} on this computer"
    if intent.record is None:
        console.progress(f"NEW {where}:")
    elif intent.changes:
        console.progress(f"CHANGE of {where}:")
    for line in [*console.changes(intent.changes), *intent.left_behind]:
        console.progress(line)


def _tell(done: "Deployed", show_passwords: bool, in_file: bool) -> None:
    call = console.me()
    if not done.changes and not done.started and not done.logins:
        console.result(f"Nothing changed. {done.url} is up, and asks for a login.")
    else:
        console.result(f"\nMLflow is at {done.url}")
    if done.at_login:
        console.result(done.at_login)
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
        "at_login": done.at_login,
        "users": [
            login.model_dump() if show_passwords else {"user": login.user} for login in done.logins
        ],
        "receipt": done.receipt.model_dump(mode="json"),
    }
