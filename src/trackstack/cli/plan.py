"""`trackstack plan TARGET`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trackstack.cli import console
from trackstack.cli.networks import network_of_caller, networks_said
from trackstack.cli.options import (
    AllowAnywhereOption,
    EnvironmentOption,
    JsonOption,
    ProfileOption,
    RefreshOption,
    SpecOption,
)
from trackstack.cli.spec_flags import with_spec_flags

if TYPE_CHECKING:
    from trackstack.environment import Environment
    from trackstack.operations.plan import Intent
    from trackstack.spec import Asked
    from trackstack.targets.base import Result

PENDING = 6

PendingOption = Annotated[
    bool, typer.Option("--detailed-exitcode", help=f"End with {PENDING} when there are changes.")
]


AdminRequestOption = Annotated[
    Path | None,
    typer.Option(
        "--admin-request",
        metavar="FILE",
        help="Write what an administrator has to permit or make, and look no further.",
    ),
]


@with_spec_flags("local")
def local(
    *,
    asked: "Asked",
    environment: EnvironmentOption = None,
    file: SpecOption = None,
    detailed_exitcode: PendingOption = False,
    json: JsonOption = False,
) -> None:
    """Say what `deploy local` with the same flags would make or change; change nothing."""
    from trackstack.cli.choice import for_deploy
    from trackstack.operations.plan import intend

    chosen = for_deploy(environment, "local", file)
    _tell(chosen, intend(chosen, "local", asked, file), None, detailed_exitcode, json)


@with_spec_flags("compose")
def compose(
    *,
    asked: "Asked",
    environment: EnvironmentOption = None,
    file: SpecOption = None,
    detailed_exitcode: PendingOption = False,
    json: JsonOption = False,
) -> None:
    """Say what `deploy compose` with the same flags would make or change; change nothing."""
    from trackstack.cli.choice import for_deploy
    from trackstack.operations.plan import intend

    chosen = for_deploy(environment, "compose", file)
    _tell(chosen, intend(chosen, "compose", asked, file), None, detailed_exitcode, json)


@with_spec_flags("aws")
def aws(
    *,
    asked: "Asked",
    environment: EnvironmentOption = None,
    file: SpecOption = None,
    profile: ProfileOption = None,
    allow_anywhere: AllowAnywhereOption = False,
    refresh: RefreshOption = False,
    admin_request: AdminRequestOption = None,
    detailed_exitcode: PendingOption = False,
    json: JsonOption = False,
) -> None:
    """Say what `deploy aws` with the same flags would make, change, replace or remove."""
    _in_a_cloud(
        "aws",
        networks_said(asked, allow_anywhere),
        environment,
        file,
        profile,
        refresh=refresh,
        admin_request=admin_request,
        detailed_exitcode=detailed_exitcode,
        json=json,
    )


@with_spec_flags("gcp")
def gcp(
    *,
    asked: "Asked",
    environment: EnvironmentOption = None,
    file: SpecOption = None,
    allow_anywhere: AllowAnywhereOption = False,
    refresh: RefreshOption = False,
    admin_request: AdminRequestOption = None,
    detailed_exitcode: PendingOption = False,
    json: JsonOption = False,
) -> None:
    """Say what `deploy gcp` with the same flags would make, change, replace or remove."""
    _in_a_cloud(
        "gcp",
        networks_said(asked, allow_anywhere),
        environment,
        file,
        None,
        refresh=refresh,
        admin_request=admin_request,
        detailed_exitcode=detailed_exitcode,
        json=json,
    )


def _in_a_cloud(
    target: str,
    asked: "Asked",
    environment: str | None,
    file: Path | None,
    profile: str | None,
    *,
    refresh: bool,
    admin_request: Path | None,
    detailed_exitcode: bool,
    json: bool,
) -> None:
    from trackstack.cli.choice import for_cloud
    from trackstack.operations.plan import intend

    chosen = for_cloud(environment, target, file, asked, profile)
    intent = intend(chosen, target, asked, file, network_of_caller())
    if admin_request is not None:
        from trackstack.operations.admin_request import write_request

        write_request(intent.plan, chosen, admin_request)
        console.progress(f"What an administrator has to permit or make stands in {admin_request}.")
        return
    forecast = chosen.target.forecast(intent.plan, refresh)
    _tell(chosen, intent, forecast, detailed_exitcode, json)


def _tell(
    chosen: "Environment",
    intent: "Intent",
    forecast: "Result | None",
    detailed_exitcode: bool,
    json: bool,
) -> None:
    from trackstack.cli.resources import forecast_lines

    lines = forecast_lines(forecast) if forecast else []
    pending = bool(intent.changes or lines)
    if json:
        resources = {"resources": forecast.changes} if forecast else {}
        console.document(
            {
                "environment": chosen.name,
                "exists": intent.record is not None,
                "changes": [each.model_dump() for each in intent.changes],
                "left_behind": intent.left_behind,
                "plan": intent.plan.brief(),
                **resources,
            }
        )
    elif not pending:
        console.result(f"Nothing would change in environment {chosen.name!r}.")
    else:
        verb = "NEW" if intent.record is None else "CHANGE of"
        console.result(f"{verb} environment {chosen.name!r} {chosen.target.where}:")
        told = [*console.changes(intent.changes), *intent.left_behind, *lines]
        console.result("\n".join(told))
    if detailed_exitcode and pending:
        raise typer.Exit(PENDING)
