"""A login for a server that this kit may not know, and the one way to ask for a password."""

import getpass
import os
from pathlib import Path
from typing import TYPE_CHECKING

from trackstack.errors import UsageError

if TYPE_CHECKING:
    from trackstack.operations.users import Login

PASSWORD_VARIABLE = "TRACKSTACK_PASSWORD"  # noqa: S105  its name


def login(user: str | None) -> "Login | None":
    """The login of a user, with the password from the environment or from the terminal."""
    from trackstack.operations.users import Login

    if user is None:
        return None
    password = os.environ.get(PASSWORD_VARIABLE) or ask(
        user,
        f"There is no password for {user!r} in {PASSWORD_VARIABLE}, and no terminal to ask on.",
    )
    return Login(user=user, password=password)


def ask(user: str, otherwise: str) -> str:
    """Ask on the terminal itself, so that it works inside eval "$(…)" too.

    Args:
        user: whose password.
        otherwise: what to say where there is no terminal.
    """
    try:
        Path("/dev/tty").open("rb").close()
    except OSError as error:
        raise UsageError(otherwise, "Run it where you can type the password.") from error
    return getpass.getpass(f"Password of {user}: ")


def ask_unknown(user: str) -> str:
    """Ask for the password of a user of an environment that this computer does not keep."""
    return ask(
        user,
        f"This computer does not know the password of {user!r}, and there is no terminal "
        "to ask on.",
    )


def only_with_url(user: str | None, ca: Path | None) -> None:
    """Refuse flags that an environment needs none of."""
    if user is not None or ca is not None:
        raise UsageError(
            "--user and --ca go with --url.", "An environment of this computer knows its own."
        )
