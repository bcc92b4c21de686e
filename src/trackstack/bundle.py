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
    return _find("templates")


def stacks() -> Path:
    """The folder that holds the Pulumi programs.

    Raises:
        FileNotFoundError: the installation is broken.
    """
    return _find("stacks")


def _find(name: str) -> Path:
    for place in _PLACES:
        if (place / name).is_dir():
            return place / name
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(_PLACES[0] / name))
