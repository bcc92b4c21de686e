"""`trackstack render DIR`."""

from pathlib import Path
from typing import Annotated

import typer

from trackstack.cli import console
from trackstack.cli.options import (
    EnvironmentOption,
    JsonOption,
    MlflowOption,
    PortOption,
    SpecOption,
    WorkersOption,
    flags,
)


def render(
    folder: Annotated[Path, typer.Argument(metavar="DIR", show_default=False)],
    environment: EnvironmentOption = None,
    file: SpecOption = None,
    port: PortOption = None,
    workers: WorkersOption = None,
    mlflow: MlflowOption = None,
    json: JsonOption = False,
) -> None:
    """Write every file that the machine would get into a new folder."""
    from trackstack.cli.choice import for_deploy
    from trackstack.operations.render import render as write

    chosen = for_deploy(environment, "local", file)
    written = write(chosen, "local", flags(port, workers, mlflow, None), folder, file)
    if json:
        console.document({"files": [str(path) for path in written]})
    else:
        console.result("\n".join(str(path) for path in written))
