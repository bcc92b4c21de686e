"""Has the system start a machine at login: a systemd user unit, on macOS a launchd agent."""

import getpass
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trackstack.durable import write_durably
from trackstack.errors import UsageError
from trackstack.templating import render

_LINGER = Path("/var/lib/systemd/linger")


@dataclass(frozen=True)
class Starter:
    """What the system is to start.

    Attributes:
        name: of the environment.
        folder: an absolute path that is among the command's arguments, and in no other starter.
        command: program and arguments.
        variables: its environment, besides what a login sets.
    """

    name: str
    folder: Path
    command: Sequence[str]
    variables: Mapping[str, str]


def installed(starter: Starter) -> bool:
    """Whether the system starts this very machine."""
    return _belongs(_file(starter.name), starter)


def check(starter: Starter) -> None:
    """Refuse to take the place of another machine's.

    Raises:
        UsageError: an environment of this name in another home folder is started at login.
    """
    file = _file(starter.name)
    if file.is_file() and not _belongs(file, starter):
        raise UsageError(
            f"{file} starts another environment {starter.name!r}, one that is not in "
            f"{starter.folder.parent}.",
            "Give this one another name with `-e`, or remove that file.",
        )


def install(starter: Starter) -> str | None:
    """Have the system start it at login from now on.

    Returns:
        What a person should know, or None when it was so before.
    """
    file = _file(starter.name)
    wanted = _agent(starter) if sys.platform == "darwin" else _unit(starter)
    enabled = sys.platform == "darwin" or _link(file).is_symlink()
    before = enabled and installed(starter)
    if before and file.read_bytes() == wanted:
        return None
    write_durably(file, wanted)
    if sys.platform == "darwin":
        return None if before else f"It starts when you log in: {file}."
    # What `systemctl --user enable` does; that itself wants a systemd that runs.
    link = _link(file)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(file)
    told = _how(file.name)
    return None if before else told


def remove(starter: Starter) -> None:
    """Have the system no longer start it; what runs goes on."""
    file = _file(starter.name)
    if not _belongs(file, starter):
        return
    if sys.platform != "darwin":
        _link(file).unlink(missing_ok=True)
    file.unlink()
    _reload()


def _how(unit: str) -> str:
    boot = "" if _lingers() else " `loginctl enable-linger` makes that a start with the computer."
    if _reload():
        return f"It starts when you log in: systemd's user unit {unit}.{boot}"
    return (
        f"It starts when you log in where systemd runs for you, which it does not here now: "
        f"user unit {unit}.{boot}"
    )


def _reload() -> bool:
    """Have the person's systemd read its units again; whether there is one."""
    if sys.platform == "darwin" or shutil.which("systemctl") is None:
        return False
    told = subprocess.run(
        ["systemctl", "--user", "daemon-reload"], capture_output=True, check=False
    )
    return told.returncode == 0


def _lingers() -> bool:
    try:
        return (_LINGER / getpass.getuser()).exists()
    except (KeyError, OSError):  # a container may run as a number without a name
        return False


def _file(name: str) -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "LaunchAgents" / f"{_label(name)}.plist"
    # As systemd does: a setting that is not absolute counts for nothing.
    asked = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    settings = asked if asked.is_absolute() else Path.home() / ".config"
    return settings / "systemd" / "user" / f"trackstack-{name}.service"


def _link(file: Path) -> Path:
    return file.parent / "default.target.wants" / file.name


def _label(name: str) -> str:
    return f"trackstack.{name}"


def _belongs(file: Path, starter: Starter) -> bool:
    if not file.is_file():
        return False
    if sys.platform == "darwin":
        import plistlib  # noqa: PLC0415  slow, and only here

        return str(starter.folder) in plistlib.loads(file.read_bytes())["ProgramArguments"]
    return _word(str(starter.folder)).replace("$", "$$") in file.read_text()


def _agent(starter: Starter) -> bytes:
    import plistlib  # noqa: PLC0415  slow, and only here

    return plistlib.dumps(
        {
            "Label": _label(starter.name),
            "ProgramArguments": list(starter.command),
            "EnvironmentVariables": dict(starter.variables),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "Umask": 0o077,
        }
    )


def _unit(starter: Starter) -> bytes:
    command = " ".join(_word(each).replace("$", "$$") for each in starter.command)
    variables = [_word(f"{name}={value}") for name, value in sorted(starter.variables.items())]
    values = {"name": starter.name, "command": command, "variables": variables}
    return render("systemd/user.service.j2", values).encode()


def _word(text: str) -> str:
    """A word of a unit file, quoted; percent signs begin systemd's own placeholders."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return '"' + "".join(f"\\x{ord(c):02x}" if c < " " else c for c in escaped) + '"'
