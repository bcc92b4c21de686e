"""What a served model's own code predicts for its own input example, apart from its server.

`python -m trackstack.agent.models.trial NAME`, in the machine's folder, prints one JSON document:
the version, the example as it is sent (null when it was logged without one) and the prediction.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from trackstack.agent.machine import StepError
from trackstack.agent.models import walls
from trackstack.agent.models.environments import python_places
from trackstack.agent.models.keeper import EXAMPLE, served
from trackstack.agent.models.server import Settings, environment_of, settings_file


def predict(name: str) -> dict[str, Any]:
    """Version, example and prediction of what is served under a name.

    Raises:
        StepError: nothing is, or it cannot be loaded.
    """
    service = served(name)
    if service is None:
        raise StepError(f"no version of {name!r} answers")
    settings = Settings.model_validate_json(settings_file(service).read_bytes())
    files, environment = Path(settings.files).absolute(), Path(settings.environment).absolute()
    example = files / EXAMPLE
    told: dict[str, Any] = {"version": settings.version, "example": None, "prediction": None}
    if not example.is_file():
        return told
    # Documented: https://mlflow.org/docs/latest/cli.html#mlflow-models-predict
    command = [str(environment / "bin" / "python"), "-P", "-m", "mlflow", "models", "predict"]
    command += ["--env-manager", "local", "--content-type", "json", "--model-uri", files.as_uri()]
    with example.open("rb") as question:
        done = subprocess.run(
            walls.within(command, read=(environment, files, *python_places(environment))),
            env=environment_of(settings),
            stdin=question,
            capture_output=True,
            check=False,
        )
    try:
        prediction = json.loads(done.stdout)
    except ValueError as error:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no word of why"]
        raise StepError(f"its own code predicts nothing: {lines[-1]}") from error
    return {**told, "example": json.loads(example.read_bytes()), "prediction": prediction}


if __name__ == "__main__":
    try:
        json.dump(predict(sys.argv[1]), sys.stdout)
    except StepError as error:
        sys.exit(error.problem)
