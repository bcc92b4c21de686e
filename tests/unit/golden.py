"""Compares a text with the one kept in golden/, byte for byte.

To make them anew after a change that is meant, and see in git what it changed:

    TRACKSTACK_GOLDEN=write pytest tests/unit -k golden
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parent / "golden"

# Read when imported: the tests take every variable of the kit's away.
_WRITE = os.environ.get("TRACKSTACK_GOLDEN") == "write"


def compare(name: str, files: Mapping[str, str], within: Path = FOLDER) -> None:
    """Fail unless golden/NAME holds exactly these files."""
    folder = within / name
    if _WRITE:
        shutil.rmtree(folder, ignore_errors=True)
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(text.encode())
    kept = {
        file.relative_to(folder).as_posix(): file.read_bytes().decode()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
    assert sorted(kept) == sorted(files), f"golden/{name} holds other files; see golden.py"
    for path, text in files.items():
        assert text == kept[path], f"{path} is not as in golden/{name}; see golden.py"
