"""Runs one MLflow project in the Python that runs this, and tells in a file what became of it.

run_project.py ASKED TOLD, where ASKED is a JSON document: what `mlflow.projects.run` is asked for,
and the source that the run is to name, when it is not the folder. TOLD gets the run's id as soon as
there is one, and what kept the project from running. The project's command runs in the Python that
stands first on PATH.
"""

import json
import signal
import sys
from pathlib import Path
from typing import Any

try:
    import mlflow
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
except KeyboardInterrupt:
    sys.exit(1)

asked = json.loads(sys.argv[1])
told = Path(sys.argv[2])
source = asked.pop("source")
known: dict[str, str] = {}


def tell(**more: str) -> None:
    """Keep what is known so far where the kit reads it."""
    known.update(more)
    told.write_text(json.dumps(known))


def interrupted(*_: Any) -> None:
    """Take the first Ctrl-C; another one would keep the run from being marked."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


create_run = MlflowClient.create_run


def create_told_run(self: MlflowClient, *given: Any, **named: Any) -> Any:
    """Make the run that MLflow makes for a project: only here is its id known in every case."""
    if source is not None:
        named["tags"] = {**named.get("tags", {}), "mlflow.source.name": source}
    made = create_run(self, *given, **named)
    tell(run=made.info.run_id)
    return made


signal.signal(signal.SIGINT, interrupted)
MlflowClient.create_run = create_told_run
try:
    mlflow.projects.run(**asked, env_manager="local")
except KeyboardInterrupt:
    sys.exit(1)
except (MlflowException, OSError, LookupError, ValueError) as error:
    if str(error) != f"Run (ID '{known.get('run')}') failed":
        tell(problem=" ".join(str(error).split()))
    # What fails between the run and its command MLflow leaves running for ever.
    if "run" in known and MlflowClient().get_run(known["run"]).info.status == "RUNNING":
        MlflowClient().set_terminated(known["run"], "FAILED")
    sys.exit(1)
