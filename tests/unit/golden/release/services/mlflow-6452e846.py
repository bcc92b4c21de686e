"""Runs `mlflow server`, but becomes the uvicorn that MLflow would start as a child of its own.

So supervisor watches the server itself, and the memory of a process that only waits is saved.
A version of MLflow that starts its server in another way is left to do so.
"""

import os
import runpy
import sys

try:
    import mlflow.server
except ImportError as error:
    sys.exit(f"MLflow cannot be started: {error}.")


def become(command, extra_env, **_):
    os.execve(command[0], command, {**os.environ, **extra_env})


mlflow.server._exec_cmd = become
runpy.run_module("mlflow", run_name="__main__", alter_sys=True)
