"""What an MLflow client needs in its environment."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

from trackstack.credentials import can_match, matches
from trackstack.durable import refuse_unwritable, write_durably
from trackstack.environment import Environment
from trackstack.errors import UsageError
from trackstack.operations import users

SHELLS = ("bash", "fish", "powershell", "python")


def client_variables(
    environment: Environment,
    user: str | None,
    ask: Callable[[str], str],
    say: str = "trackstack env NAME",
) -> dict[str, str]:
    """The variables of an MLflow client.

    Args:
        environment: whose server.
        user: None for the user whose password this computer keeps.
        ask: asks a person for a user's password, which this computer does not know.
        say: how to name another user.

    Raises:
        UsageError: there is no such user, or the password is not theirs.
    """
    name = user or environment.owner()
    if name is None:
        raise UsageError(
            f"This computer keeps no password for environment {environment.name!r}.",
            f"Say whose: `{say}`.",
        )
    known = users.must_exist(environment, name)
    password = environment.password(name)
    if password is None or not matches(password, known.hash):
        password = ask(name)
        if can_match(known.hash) and not matches(password, known.hash):
            raise UsageError(
                f"That is not the password of {name!r}.",
                f"For a new one: `trackstack users rotate {name}`.",
            )
    authorities = environment.authorities()
    certificate = {"MLFLOW_TRACKING_SERVER_CERT_PATH": str(authorities)} if authorities else {}
    return {
        "MLFLOW_TRACKING_URI": environment.url,
        **certificate,
        "MLFLOW_TRACKING_USERNAME": name,
        "MLFLOW_TRACKING_PASSWORD": password,
        # MLflow writes the system's account into runs unless this says who it is.
        "LOGNAME": name,
    }


def as_shell(variables: dict[str, str], shell: str) -> str:
    """The variables as lines that a shell, or Python, takes up.

    Args:
        variables: by name.
        shell: one of SHELLS.
    """
    lines = [_line(shell, name, value) for name, value in variables.items()]
    return "\n".join(["import os", *lines] if shell == "python" else lines)


def write_dotenv(variables: dict[str, str], file: Path) -> None:
    """Write the variables to a .env file that only this account may read.

    Raises:
        UsageError: it cannot be written.
    """
    text = "".join(f"{name}={json.dumps(value)}\n" for name, value in variables.items())
    try:
        refuse_unwritable(file.absolute())
        write_durably(file.absolute(), text.encode())
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}.") from error


def _line(shell: str, name: str, value: str) -> str:
    if shell == "fish":
        in_quotes = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"set -gx {name} '{in_quotes}'"
    if shell == "powershell":
        # It takes typographic single quotes for the plain one.
        in_quotes = re.sub("(['\u2018-\u201b])", r"\1\1", value)
        return f"$env:{name} = '{in_quotes}'"
    if shell == "python":
        return f"os.environ[{name!r}] = {value!r}"
    return f"export {name}={shlex.quote(value)}"
