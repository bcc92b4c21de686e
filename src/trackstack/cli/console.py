"""Prints: results to standard output, progress to standard error, secrets only where told."""

import io
import json
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from trackstack.errors import UsageError

if TYPE_CHECKING:
    from trackstack.desired import StepReport
    from trackstack.operations.receipt import Check
    from trackstack.operations.users import Login
    from trackstack.plan import Difference


def have_streams() -> None:
    """Have all three streams, also where the caller closed one or speaks less than UTF-8."""
    # Python has None for a closed stream, and a file opened later would take its number.
    for number, mode, name in ((0, "r", "stdin"), (1, "w", "stdout"), (2, "w", "stderr")):
        if getattr(sys, name) is None:
            handle = os.open(os.devnull, os.O_RDWR)
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        # An address or a name may hold any letter; what prints it may be unable to.
        sys.stdout.reconfigure(errors="backslashreplace")


def progress(text: str) -> None:
    """Tell what is going on."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def result(text: str) -> None:
    """Print what was asked for."""
    typer.echo(text)


def document(content: Any) -> None:
    """Print the one JSON document of a command."""
    typer.echo(json.dumps(content, indent=2, sort_keys=True, default=str))


def at_terminal() -> bool:
    """Whether a person reads standard output."""
    return sys.stdout.isatty()


def can_ask() -> bool:
    """Whether a person is there to answer."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def must_agree(question: str) -> None:
    """Ask on the terminal, and end the command when the answer is no.

    Raises:
        UsageError: nobody is there to ask, or the answer is no.
    """
    if not can_ask():
        raise UsageError("There is no terminal to ask on.", "Say `--yes` to go ahead.")
    if not agrees(question):
        raise UsageError("Nothing was changed.")


def agrees(question: str) -> bool:
    """Ask on the terminal, which must be there; a plain Enter is no."""
    return typer.confirm(question, err=True)


class Steps:
    """Shows the machine's steps: one line each as it ends; at a terminal also the one at work."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._working: str | None = None

    def __call__(self, steps: "Sequence[StepReport]") -> None:
        """Take the steps as the machine reports them now."""
        for step in steps:
            if step.state == "running":
                self._show_working(step.name)
            elif step.name not in self._told:
                self._told.add(step.name)
                self._clear()
                progress(
                    _line(step.state == "done", _STEP_WORDS.get(step.name, step.name), step.seconds)
                )

    def _show_working(self, name: str) -> None:
        if name != self._working and sys.stderr.isatty():
            self._clear()
            self._working = name
            sys.stderr.write(f"  … {_STEP_WORDS.get(name, name)}")
            sys.stderr.flush()

    def _clear(self) -> None:
        if self._working is not None:
            sys.stderr.write("\r\x1b[K")
            self._working = None


_STEP_WORDS = {
    "folders": "folders",
    "users": "users let in",
    "audited": "changes noted in the audit folder",
    "files": "files of the release written",
    "packages": "MLflow and its packages installed",
    "database": "MLflow's own role in the database",
    "secrets": "MLflow's own keys",
    "stores": "database and bucket open",
    "mlflow": "MLflow answers on its socket",
    "certificates": "certificates for its names",
    "nginx": "nginx asks for a login",
    "retired": "nothing older left running",
    "cleaned": "nothing left to clean up",
    "models": "served models are looked after",
}


def check_line(check: "Check") -> None:
    """Show one check of verify."""
    progress(_line(check.held, f"{check.tried}: {check.seen}", check.milliseconds / 1000))


def changes(differences: "Sequence[Difference]") -> list[str]:
    """What a deploy would make or change, a line each."""
    width = max((len(each.key) for each in differences), default=0)
    return [
        f"  + {each.key:<{width}}  {each.after}"
        if each.before is None
        else f"  ~ {each.key:<{width}}  {each.before} -> {each.after}"
        for each in differences
    ]


def may_show_passwords(show: bool, file: Path | None) -> None:
    """Refuse, before anything changes, to make passwords that nobody would see.

    Raises:
        UsageError: no terminal, and no flag that says where they go; or a file that cannot be
            written.
    """
    if not (show or file or at_terminal()):
        raise UsageError(
            "There is no terminal to show a new password on.",
            "Say `--password-file FILE` or `--show-passwords`.",
        )
    may_write_passwords(file)


def may_write_passwords(file: Path | None) -> None:
    """Refuse, before anything changes, a file that the passwords could not be written to."""
    if file is None:
        return
    from trackstack.durable import refuse_unwritable

    try:
        refuse_unwritable(file.absolute())
    except OSError as error:
        raise UsageError(
            f"{file} cannot take passwords: {error.strerror}.",
            "Name another file; nothing was changed.",
        ) from error


def passwords(logins: "Sequence[Login]", show: bool, file: Path | None) -> None:
    """Show new passwords once, or write them where told."""
    if file is not None and logins:
        from trackstack.durable import write_durably

        lines = "".join(f"{login.user}:{login.password}\n" for login in logins)
        write_durably(file.absolute(), lines.encode())
        progress(f"The passwords are in {file}, one line `name:password` each.")
    elif show or at_terminal():
        for login in logins:
            result(f"  {login.user}  {login.password}")


def me() -> str:
    """How this command is called from this shell: its name, or its path when not on PATH."""
    called = Path(sys.argv[0])
    found = shutil.which(called.name)
    on_path = found is not None and Path(found).resolve() == called.resolve()
    if on_path or not os.access(called, os.X_OK):
        return "trackstack"
    return shlex.quote(str(called))


def size(count: int) -> str:
    """Bytes for a reader."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def _line(well: bool, text: str, seconds: float | None) -> str:
    took = f"  {seconds:.1f} s" if seconds is not None and seconds >= 0.05 else ""
    return f"  {'ok' if well else 'FAILED'}  {text}{took}"
