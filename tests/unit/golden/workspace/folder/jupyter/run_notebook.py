"""Runs a notebook from end to end with Jupyter's own kernel, and says on its output how it went.

run_notebook.py NOTEBOOK runs a copy in a folder of its own and prints one JSON document: how many
code cells ran, what they printed, and the error that ended it.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

CELL_SECONDS = 600

with tempfile.TemporaryDirectory() as folder:
    # Where it can log itself, and with what it printed in place of what an earlier run did.
    copy = Path(shutil.copy(sys.argv[1], folder))
    notebook = nbformat.read(copy, as_version=4)
    problem = None
    try:
        NotebookClient(
            notebook, timeout=CELL_SECONDS, resources={"metadata": {"path": folder}}
        ).execute()
    except CellExecutionError as error:
        problem = f"{error.ename}: {error.evalue}"
    except (CellTimeoutError, DeadKernelError) as error:
        problem = str(error).strip().splitlines()[0]

cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
printed = [
    output.text
    for cell in cells
    for output in cell.outputs
    if output.output_type == "stream" and output.name == "stdout"
]
ran = sum(cell.execution_count is not None for cell in cells) - (problem is not None)
told = {"cells": ran, "of": len(cells), "printed": "".join(printed), "problem": problem}
print(json.dumps(told))
