"""`trackstack status`."""

from typing import TYPE_CHECKING

import typer

from trackstack.cli import console
from trackstack.cli.options import EnvironmentOption, JsonOption
from trackstack.errors import NotProvenError

if TYPE_CHECKING:
    from trackstack.desired import Patches
    from trackstack.operations.status import Status


def status(environment: EnvironmentOption = None, json: JsonOption = False) -> None:
    """How an environment is; ends with 3 when it should serve and does not."""
    from trackstack import environment as environments
    from trackstack.operations.status import status as look

    seen = look(environments.find(environment))
    if json:
        console.document(seen.model_dump(mode="json"))
    else:
        for line in _lines(seen):
            console.result(line)
    well = seen.state in ("running", "removed") and seen.answers is not False and not seen.room
    if not well:
        raise typer.Exit(NotProvenError.exit_code)


def _lines(seen: "Status") -> list[str]:
    answers = {True: "a login can read", False: "a login cannot read", None: "not asked"}
    told = {
        "environment": f"{seen.environment} ({seen.target})",
        "address": seen.url,
        "jupyterlab": seen.workspace.url if seen.workspace else "",
        "its token": seen.workspace.token if seen.workspace else "",
        "state": seen.state,
        "answers": answers[seen.answers],
        "at login": "starts by itself" if seen.at_login else "",
        "users": str(seen.people),
        "stored": "" if seen.stored_bytes is None else console.size(seen.stored_bytes),
        "versions": ", ".join(f"{name} {seen.versions[name]}" for name in sorted(seen.versions)),
        "models": ", ".join(seen.models),
        "release": seen.release or "",
        "last report": f"{seen.heartbeat:%Y-%m-%d %H:%M:%S} UTC" if seen.heartbeat else "",
        **_patches(seen.patches),
    }
    lines = [f"{name:<12} {text}" for name, text in told.items() if text]
    if seen.room:
        lines.append(seen.room)
    if seen.failed:
        lines += [
            f"step {seen.failed.name!r} fails: {seen.failed.problem}",
            seen.failed.output or "",
        ]
    return lines


def _patches(seen: "Patches | None") -> dict[str, str]:
    if seen is None:
        return {}
    last = f"{seen.last:%Y-%m-%d %H:%M} UTC" if seen.last else "not yet; Debian does it once a day"
    return {
        "last patched": last,
        "reboot": "pending: a new kernel waits for it" if seen.reboot_pending else "",
    }
