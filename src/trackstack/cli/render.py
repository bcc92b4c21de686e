"""`trackstack render DIR`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trackstack.cli import console
from trackstack.cli.options import EnvironmentOption, JsonOption, SpecOption
from trackstack.cli.spec_flags import with_spec_flags

if TYPE_CHECKING:
    from trackstack.spec import Asked


@with_spec_flags("local")
def render(
    *,
    asked: "Asked",
    folder: Annotated[Path, typer.Argument(metavar="DIR", show_default=False)],
    environment: EnvironmentOption = None,
    file: SpecOption = None,
    json: JsonOption = False,
) -> None:
    """Write every file that the machine would get into a new folder.

    Of an environment in a cloud also plan.json, which is what the engine makes; of a workspace also
    the folder that Docker runs, without its secrets.
    """
    from trackstack import spec
    from trackstack.cli.choice import for_deploy
    from trackstack.operations.render import render as write

    target = "local" if file is None else str(spec.load(file).get("target", "local"))
    chosen = for_deploy(environment, target, file)
    written = write(chosen, asked, folder, file)
    if json:
        console.document({"files": [str(path) for path in written]})
    else:
        console.result("\n".join(str(path) for path in written))
