"""Credentials of an outer database or bucket, in a file that only the server reads."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from trackstack.agent.ensure_stores import parse
from trackstack.durable import write_durably
from trackstack.errors import TrackstackError

FILES = (
    "AWS_CA_BUNDLE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "GOOGLE_APPLICATION_CREDENTIALS",
)
"""Variables that name a file."""


def read(file: Path) -> dict[str, str]:
    """The variables as kept; none where there is no file.

    Raises:
        TrackstackError: the file is damaged.
    """
    if not file.is_file():
        return {}
    try:
        return parse(file.read_text())
    except ValueError as error:
        raise TrackstackError(
            f"{file}, which keeps the credentials of database and bucket, is damaged.",
            "Remove it and deploy again with the credentials in this shell.",
        ) from error


def write(file: Path, variables: Mapping[str, str], owner: int | None = None) -> None:
    """Keep variables, as a shell would read them.

    Args:
        file: for its owner only.
        variables: by name; secret.
        owner: whom it is given to, by number; the one who writes it when None.
    """
    lines = (f"{name}={shlex.quote(value)}\n" for name, value in variables.items())
    write_durably(file, "".join(lines).encode(), owner=owner)
