"""Finds the folders that stand beside the package: in the wheel first, in the checkout second."""

import errno
import os
from pathlib import Path

_PACKAGE = Path(__file__).parent
_PLACES = (_PACKAGE / "_bundle", _PACKAGE.parent.parent)


def templates() -> Path:
    """The folder that holds every template a server's files are rendered from.

    Raises:
        FileNotFoundError: the installation is broken.
    """
    for place in _PLACES:
        if (place / "templates").is_dir():
            return place / "templates"
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(_PLACES[0] / "templates"))
