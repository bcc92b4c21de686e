"""Runs `mlflow server`, but becomes the uvicorn that MLflow would start as a child of its own.

So supervisor watches the server itself, and the memory of a process that only waits is saved.
A version of MLflow that starts its server in another way is left to do so.
"""

import os
import runpy
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

try:
    import mlflow.server
except ImportError as error:
    sys.exit(f"MLflow cannot be started: {error}.")


def become(command, extra_env, **_):
    os.execve(command[0], command, {**os.environ, **extra_env})


# What was answered has to outlive a power cut. With the journal that SQLite has by default the last
# transaction may not: what commits it is that a file goes, and the disk need not know yet.
# https://sqlite.org/pragma.html#pragma_synchronous
database = Path("data/mlflow.db")
try:
    # SQLite would not let the agent write to what it makes, where that is another user of one group.
    database.touch()
    with closing(sqlite3.connect(database, timeout=60)) as opened:
        opened.execute("PRAGMA journal_mode = WAL")
except (OSError, sqlite3.Error) as error:
    sys.exit(f"MLflow's database cannot be opened: {error}.")

mlflow.server._exec_cmd = become
runpy.run_module("mlflow", run_name="__main__", alter_sys=True)
