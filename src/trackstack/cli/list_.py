"""`trackstack list`."""

from typing import Annotated

import typer

from trackstack.cli import console
from trackstack.cli.options import JsonOption, ProfileOption, RegionOption


def list_(
    account: Annotated[
        str | None,
        typer.Option(
            "--account", metavar="aws|gcp", help="Those of a cloud's account, known here or not."
        ),
    ] = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
    json: JsonOption = False,
) -> None:
    """The environments that this computer knows."""
    if account is not None:
        _of_account(account, region, profile, json)
        return
    from trackstack.operations.status import summaries

    found = summaries()
    if json:
        console.document([each.model_dump() for each in found])
    elif not found:
        console.result("There is no environment yet; `trackstack deploy local` makes one.")
    for each in [] if json else found:
        told = each.problem or f"{each.target}  {each.url}"
        console.result(f"{each.environment:<16} {each.state:<10} {told}")


def _of_account(target: str, region: str | None, profile: str | None, json: bool) -> None:
    from trackstack.operations.attach import names_in_account

    place, names = names_in_account(target, region, profile)
    if json:
        console.document({"account": place.account, "region": place.region, "environments": names})
        return
    console.result(f"{place.told}: {', '.join(names) or 'no environment'}")
