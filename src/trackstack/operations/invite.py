"""Writes what a teammate needs who has neither the kit nor a cloud account; no password in it."""

from pathlib import Path

from trackstack.environment import Environment
from trackstack.errors import UsageError
from trackstack.templating import render


def invitation(environment: Environment, user: str) -> str:
    """A hand-over for one user: address, name, certificate, and where each goes.

    Returns:
        Markdown.
    """
    authorities = environment.authorities()
    return render(
        "invite/invite.md.j2",
        {
            "user": user,
            "url": environment.url,
            "mlflow": environment.existing_record().plan.mlflow.version,
            "authorities": authorities.read_text() if authorities else "",
            "authorities_file": f"trackstack-{environment.name}-ca.pem",
        },
    )


def write_invitation(environment: Environment, user: str, file: Path) -> None:
    """Write a user's hand-over to a file.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        file.write_text(invitation(environment, user))
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}.") from error
