"""What a served model's own code predicts for its own input example, apart from its server."""

import json
from pathlib import Path

from trackstack.agent import folders
from trackstack.agent.machine import StepError
from trackstack.agent.models import inside
from trackstack.agent.models.settings import settings_of
from trackstack.agent.models.trouble import told_by
from trackstack.agent.models.walls import Task, Walls
from trackstack.desired import ModelTrial

_MOST_BYTES = 256 * 1024
"""Of an example, and of a prediction: both go into a document in the control store."""
_LOAD_SECONDS = 300
"""What loading may take, besides a request's own time."""


def tried(name: str, service: str, asked: int, walls: Walls) -> ModelTrial:
    """Example and prediction of the model that a service serves.

    Args:
        name: what it is served as.
        service: the server's.
        asked: the generation of the document that asks for it.
        walls: in which its code runs.
    """
    settings = settings_of(service)
    files = Path(settings.files)
    example, answer = files / inside.EXAMPLE, folders.TEMPORARY / f"trial-{name}.json"
    told = ModelTrial(desired=asked, version=settings.version)
    if not example.is_file():
        return told
    if example.stat().st_size > _MOST_BYTES:
        size = example.stat().st_size >> 10
        return told.model_copy(update={"problem": f"its input example has {size:,} KB"})
    task = Task(
        name=f"trial_{name}",
        files=files,
        environment=Path(settings.environment),
        command=inside.prediction,
        variables=inside.variables,
        answer=answer,
        question=example,
        seconds=settings.seconds + _LOAD_SECONDS,
    )
    try:
        walls.run(task, "its own code predicts nothing")
        if answer.stat().st_size > _MOST_BYTES:
            size = answer.stat().st_size >> 10
            return told.model_copy(update={"problem": f"its own code predicts {size:,} KB"})
        prediction = json.loads(answer.read_bytes())
    except StepError as error:
        return told.model_copy(update={"problem": told_by(error)})
    except (ValueError, RecursionError):
        return told.model_copy(update={"problem": "its own code predicts what is no JSON"})
    finally:
        answer.unlink(missing_ok=True)
    return told.model_copy(
        update={"example": json.loads(example.read_bytes()), "prediction": prediction}
    )
