"""`trackstack allow`."""

from typing import TYPE_CHECKING, Annotated

import typer

from trackstack import names
from trackstack.cli import console
from trackstack.cli.networks import must_be_bounded
from trackstack.cli.options import EnvironmentOption, JsonOption, YesOption, checked

if TYPE_CHECKING:
    from trackstack.operations.allow import Allowed

ME = "me"


def _network_or_me(value: str) -> str:
    return value if value == ME else names.client_network(value)


NetworkArgument = Annotated[
    str,
    typer.Argument(metavar="me|NETWORK", callback=checked(_network_or_me), show_default=False),
]

app = typer.Typer(
    help="Who may connect to a cloud's machine.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("list")
def list_(environment: EnvironmentOption = None, json: JsonOption = False) -> None:
    """The networks that may connect."""
    from trackstack import environment as environments
    from trackstack.operations import allow

    _tell(allow.listed(environments.find(environment)), json)


@app.command()
def add(
    network: NetworkArgument,
    lasts: Annotated[
        str | None,
        typer.Option("--for", metavar="TIME", help="For how long, such as 12h; else for good."),
    ] = None,
    environment: EnvironmentOption = None,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Let a network connect; `me` is the address that this computer comes from.

    After --for it is let out by the next `allow` or `deploy` that runs.
    """
    from trackstack import environment as environments
    from trackstack.cli.durations import duration
    from trackstack.cli.resources import Resources
    from trackstack.operations import allow

    chosen = environments.find(environment)
    wanted = _resolved(network)
    must_be_bounded([wanted])
    span = duration(lasts) if lasts else None
    console.progress(
        f"CHANGE of environment {chosen.name!r} {chosen.target.where}: let in {wanted}"
    )
    if not yes:
        console.must_agree("Go ahead?")
    _tell(allow.add(chosen, wanted, span, Resources()), json)


@app.command()
def remove(
    network: NetworkArgument,
    environment: EnvironmentOption = None,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Let a network connect no longer."""
    from trackstack import environment as environments
    from trackstack.cli.resources import Resources
    from trackstack.operations import allow

    chosen = environments.find(environment)
    unwanted = _resolved(network)
    console.progress(
        f"CHANGE of environment {chosen.name!r} {chosen.target.where}: shut out {unwanted}"
    )
    if not yes:
        console.must_agree("Go ahead?")
    _tell(allow.remove(chosen, unwanted, Resources()), json)


def _resolved(network: str) -> str:
    from trackstack.operations.own_address import own_network

    return own_network() if network == ME else network


def _tell(allowed: "list[Allowed]", json: bool) -> None:
    if json:
        console.document([each.model_dump(mode="json") for each in allowed])
        return
    for each in allowed:
        until = f"  until {each.until:%Y-%m-%d %H:%M} UTC" if each.until else ""
        console.result(f"{each.network}{until}")
