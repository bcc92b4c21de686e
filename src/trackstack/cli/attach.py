"""`trackstack attach`."""

from typing import Annotated

import typer

from trackstack import names
from trackstack.cli import console
from trackstack.cli.options import CloudOption, JsonOption, ProfileOption, RegionOption, checked


def attach(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", callback=checked(names.environment), show_default=False),
    ],
    target: CloudOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
    json: JsonOption = False,
) -> None:
    """Make a colleague's environment, or one from another computer, known to this one."""
    from trackstack.operations.attach import attach as find

    found = find(name, target, region, profile)
    if json:
        place = found.place.model_dump(exclude={"who"}) if found.place else {}
        console.document({"environment": found.name, **place})
        return
    console.result(f"Environment {found.name!r} is {found.target.where}.")
    console.result(f'For a client: eval "$({console.me()} env NAME -e {found.name})"')
