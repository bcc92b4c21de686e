"""`trackstack notebook`."""

from trackstack.cli import console
from trackstack.cli.options import EnvironmentOption, JsonOption


def notebook(environment: EnvironmentOption = None, json: JsonOption = False) -> None:
    """Run a workspace's example notebook from end to end, and see that its run is on the server."""
    from trackstack import environment as environments
    from trackstack.operations.notebook import run_notebook

    ran = run_notebook(environments.find(environment))
    if json:
        console.document(ran.model_dump())
        return
    console.result(f"{ran.notebook}: {ran.cells} cells ran in {ran.seconds:.1f} s.")
    console.result(
        f"Its run has {ran.parameters} parameters and {ran.metrics} metrics on the server:"
    )
    console.result(ran.url)
