"""Models' files and packages that nobody has used for a day: an alias that is put back has them."""

import shutil
import time
from pathlib import Path

from trackstack.agent import folders
from trackstack.agent.models.settings import Settings

_KEPT_SECONDS = 24 * 3600


def drop() -> None:
    """Remove them; call it only while no model is being prepared."""
    used = set[str]()
    for file in folders.SERVICES.glob("model-*.json"):
        try:
            settings = Settings.model_validate_json(file.read_bytes())
        except ValueError:  # a power cut left half of it
            continue
        used |= {settings.files, settings.environment}
    for place in (folders.MODEL_FILES, folders.MODEL_ENVIRONMENTS):
        for folder in place.iterdir():
            if folder.is_dir() and str(folder) not in used and _is_old(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _is_old(folder: Path) -> bool:
    whole = folder / ".whole"
    used = (whole if whole.is_file() else folder).stat().st_mtime
    return time.time() > used + _KEPT_SECONDS
