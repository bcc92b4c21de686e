"""`trackstack run`."""

import sys
from typing import Annotated

import typer

from trackstack import names
from trackstack.cli import console
from trackstack.cli.login import ask_unknown
from trackstack.cli.options import EnvironmentOption, JsonOption, checked


def run(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER|GIT_ADDRESS[#FOLDER]",
            help="An MLflow project: a folder of this computer, or in a git repository.",
            show_default=False,
        ),
    ],
    parameter: Annotated[
        list[str] | None,
        typer.Option("-P", "--param", metavar="NAME=VALUE", help="A parameter; may be repeated."),
    ] = None,
    entry_point: Annotated[
        str, typer.Option(metavar="NAME", help="One of the project's, or a script in it.")
    ] = "main",
    version: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="A branch, tag or commit of the git repository."),
    ] = None,
    experiment_name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Where its run goes. [MLflow's default experiment]"),
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", callback=checked(names.user), help="As whom. [who deployed from here]"
        ),
    ] = None,
    environment: EnvironmentOption = None,
    json: JsonOption = False,
) -> None:
    """Run an MLflow project here, as a client of the server; this computer needs no MLflow.

    With --json, what the project prints goes to standard error.
    """
    from trackstack import environment as environments
    from trackstack.operations.env import client_variables
    from trackstack.operations.project import parameters
    from trackstack.operations.run import Wanted, failure, run_project

    wanted = Wanted(
        source=source,
        version=version,
        entry_point=entry_point,
        parameters=parameters(parameter or []),
        experiment=experiment_name,
    )
    chosen = environments.find(environment)
    ran = run_project(
        chosen,
        wanted,
        client_variables(chosen, user, ask_unknown, "trackstack run --user NAME"),
        console.progress,
        output=sys.stderr.fileno() if json else None,
    )
    if json:
        console.document(ran.model_dump())
    problem = failure(ran)
    if problem is not None:
        raise problem
    if not json:
        console.result(f"The project ran. Its run: {ran.url}")
