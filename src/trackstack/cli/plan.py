"""`trackstack plan TARGET`."""

from typing import TYPE_CHECKING, Annotated

import typer

from trackstack.cli import console
from trackstack.cli.options import EnvironmentOption, JsonOption, SpecOption
from trackstack.cli.spec_flags import with_spec_flags

if TYPE_CHECKING:
    from trackstack.spec import Asked

PENDING = 6


@with_spec_flags
def local(
    *,
    asked: "Asked",
    environment: EnvironmentOption = None,
    file: SpecOption = None,
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
    intent = intend(chosen, "local", asked, file)
    if json:
        console.document(
            {
                "environment": chosen.name,
                "exists": intent.record is not None,
                "changes": [each.model_dump() for each in intent.changes],
                "left_behind": intent.left_behind,
                "plan": intent.plan.brief(),
            }
        )
    elif not intent.changes:
        console.result(f"Nothing would change in environment {chosen.name!r}.")
    else:
        verb = "NEW" if intent.record is None else "CHANGE of"
        console.result(f"{verb} environment {chosen.name!r} on this computer:")
        console.result("\n".join([*console.changes(intent.changes), *intent.left_behind]))
    if detailed_exitcode and intent.changes:
        raise typer.Exit(PENDING)
