"""Runs the workspace's example notebook from end to end, and looks whether its run is there."""

import json
import re
import time

from trackstack.desired import Part
from trackstack.environment import Environment
from trackstack.errors import NotProvenError, TrackstackError, UsageError, printable
from trackstack.operations import users
from trackstack.operations.verify import must_run
from trackstack.tracking import TrackingError

_RUN = re.compile(r"^run ([0-9a-f]{32})$", re.MULTILINE)


class Ran(Part):
    """What a notebook did.

    Attributes:
        cells: how many of its code cells ran.
        printed: what they printed.
        run: the id of the run it logged.
        experiment: that run's.
        url: the run's page.
        parameters: how many the server has of it.
        metrics: likewise.
    """

    notebook: str
    cells: int
    seconds: float
    printed: str
    run: str
    experiment: str
    url: str
    parameters: int
    metrics: int


def run_notebook(environment: Environment) -> Ran:
    """Run the example where JupyterLab runs, as its client; then ask the server for what it logged.

    Raises:
        UsageError: the environment has no JupyterLab.
        NotProvenError: the server does not run, a cell failed, or its run is not on the server.
        TrackstackError: JupyterLab does not run.
    """
    if environment.target.workspace(environment.existing_record().plan) is None:
        raise UsageError(
            f"Environment {environment.name!r} has no JupyterLab.",
            "`trackstack deploy compose` makes one that has.",
        )
    must_run(environment)  # else its client would ask for minutes
    began = time.monotonic()
    told = json.loads(environment.target.run_example())
    seconds = round(time.monotonic() - began, 1)
    if told["problem"]:
        raise NotProvenError(
            f"Cell {told['cells'] + 1} of {told['of']} of the example failed: "
            f"{_sentence(told['problem'])}.",
            f"`trackstack logs mlflow -e {environment.name}` says what the server made of it.",
        )
    found = _RUN.search(told["printed"])
    if found is None:
        raise TrackstackError("The example ran, and did not say which run it logged.")
    return _looked_up(environment, found[1], told, seconds)


def _sentence(problem: str) -> str:
    """A cell's error in one line, without the page that MLflow's client was answered with."""
    line = problem.partition(" Response body:")[0].partition("\n")[0]
    return printable(line.strip()).rstrip(".")


def _looked_up(environment: Environment, run: str, told: dict[str, str], seconds: float) -> Ran:
    with (
        users.temporary(environment, "notebook") as login,
        environment.tracking(login.user, login.password) as tracking,
    ):
        try:
            logged = tracking.run(run)
        except TrackingError as error:
            raise NotProvenError(
                f"The example ran, and its run {run} is not on the server.",
                f"`trackstack logs mlflow -e {environment.name}` says more.",
            ) from error
    experiment = str(logged["info"]["experiment_id"])
    return Ran(
        notebook="mlflow-example.ipynb",
        cells=int(told["cells"]),
        seconds=seconds,
        printed=told["printed"],
        run=run,
        experiment=experiment,
        url=f"{environment.url}/#/experiments/{experiment}/runs/{run}",
        parameters=len(logged["data"].get("params", [])),
        metrics=len(logged["data"].get("metrics", [])),
    )
