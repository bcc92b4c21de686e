"""Whether a database's tables are those that the installed MLflow works with.

Read from the files of both, so that neither MLflow nor its server need start.
"""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal

_REVISION = re.compile(r"^revision\b.*?= *(.*)$", re.MULTILINE)
_BEFORE = re.compile(r"^down_revision\b.*?= *(.*)$", re.MULTILINE)
_ID = re.compile(r"[\"']([0-9a-f]+)[\"']")

State = Literal["fits", "older", "newer"]


def compare(database: Path, packages: Path) -> State | None:
    """Hold an SQLite database against an installed MLflow.

    Args:
        database: the file.
        packages: the folder of a Python environment with MLflow in it.

    Returns:
        Whether the tables fit, are older or newer; None when one of the two cannot be read.
    """
    stamped = _stamped(database)
    known, newest = _known(packages)
    if stamped is None or not newest:
        return None
    if stamped == newest:
        return "fits"
    return "older" if stamped <= known else "newer"


def _stamped(database: Path) -> set[str] | None:
    """The revisions in a database, read without making or changing the file."""
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as open_:
            return {row[0] for row in open_.execute("SELECT version_num FROM alembic_version")}
    except sqlite3.Error:
        return None


def _known(packages: Path) -> tuple[set[str], set[str]]:
    """Every revision an MLflow has, and the newest: those that come before no other."""
    known: set[str] = set()
    passed: set[str] = set()
    for text in _migrations(packages):
        revision, before = _REVISION.search(text), _BEFORE.search(text)
        known |= set(_ID.findall(revision[1])) if revision else set()
        passed |= set(_ID.findall(before[1])) if before else set()
    return known, known - passed


def _migrations(packages: Path) -> Iterator[str]:
    folder = "lib/python3*/site-packages/mlflow/store/db_migrations/versions/*.py"
    return (file.read_text(encoding="utf-8") for file in packages.glob(folder))
