"""Logs are kept within bounds, where no supervisor does it."""

import shutil
from itertools import pairwise
from pathlib import Path

from trackstack.agent import folders
from trackstack.agent.round import Round

_MB = 1024 * 1024

BOUNDS: dict[Path, tuple[int, int]] = {
    folders.NGINX_LOG: (20 * _MB, 5),
    folders.NGINX_ERRORS: (5 * _MB, 1),
    folders.MLFLOW_LOG: (10 * _MB, 3),
    folders.AGENT_LOG: (5 * _MB, 1),
}
"""How many bytes a log may have, and how many older ones are kept; as supervisor does by itself."""
_OF_MODELS = (5 * _MB, 1)


def ensure_logs(_: Round) -> None:
    """Put a full log's content aside, as NAME.1, and empty it.

    Whoever writes it has it open and goes on: only what is written between the end of the copy and
    the emptying is lost.
    """
    of_models = dict.fromkeys(folders.LOGS.glob("model*.log"), _OF_MODELS)
    for log, (most, kept) in (BOUNDS | of_models).items():
        if log.is_file() and log.stat().st_size > most:
            _put_aside(log, kept)


def _put_aside(log: Path, kept: int) -> None:
    older = [log.with_name(f"{log.name}.{number}") for number in range(1, kept + 1)]
    older[-1].unlink(missing_ok=True)
    for newer, place in reversed(list(pairwise(older))):
        if newer.exists():
            newer.rename(place)
    try:
        shutil.copyfile(log, older[0])
    finally:
        # Also on a full disk: a server that serves is worth more than its log.
        with log.open("r+b") as file:
            file.truncate()
