"""`trackstack plan TARGET`."""

from typing import Annotated

import typer

from trackstack.cli import console
from trackstack.cli.options import (
    EnvironmentOption,
    JsonOption,
    MlflowOption,
    PortOption,
    SpecOption,
    UserOption,
    WorkersOption,
    flags,
)

PENDING = 6


def local(
    environment: EnvironmentOption = None,
    file: SpecOption = None,
    port: PortOption = None,
    workers: WorkersOption = None,
    mlflow: MlflowOption = None,
    user: UserOption = None,
    detailed_exitcode: Annotated[
        bool,
        typer.Option("--detailed-exitcode", help=f"End with {PENDING} when there are changes."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Say what `deploy local` with the same flags would make or change; change nothing."""
    from trackstack.cli.choice import for_deploy
    from trackstack.operations.plan import intend

    chosen = for_deploy(environment, "local", file)
    intent = intend(chosen, "local", flags(port, workers, mlflow, user), file)
    if json:
        console.document(
            {
                "environment": chosen.name,
                "exists": intent.record is not None,
                "changes": [each.model_dump() for each in intent.changes],
                "plan": intent.plan.brief(),
            }
        )
    elif not intent.changes:
        console.result(f"Nothing would change in environment {chosen.name!r}.")
    else:
        verb = "NEW" if intent.record is None else "CHANGE of"
        console.result(f"{verb} environment {chosen.name!r} on this computer:")
        console.result("\n".join(console.changes(intent.changes)))
    if detailed_exitcode and intent.changes:
        raise typer.Exit(PENDING)
