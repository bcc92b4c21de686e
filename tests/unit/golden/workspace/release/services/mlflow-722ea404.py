"""Runs `mlflow server`, but is itself the server that MLflow would start as a child of its own.

So supervisor watches the server itself, and MLflow is imported once: its workers are forks of this
process and share its memory, where uvicorn's own each import all of it anew. Not on macOS, whose
libraries do not outlive a fork: there this process becomes uvicorn.
A version of MLflow that starts its server in another way is left to do so.
"""

import gc
import importlib.util
import multiprocessing
import os
import runpy
import sys

try:
    # MLflow puts its checks of hosts and origins in only where it finds uvicorn there before it.
    import uvicorn._subprocess
    import mlflow.server.fastapi_app
except ImportError as error:
    sys.exit(f"MLflow cannot be started: {error}.")

from mlflow.store.artifact.artifact_repository_registry import _artifact_repository_registry


def artifacts(*place, **more):
    """The kit's own way to artifacts; imported when a worker first needs it."""
    spec = importlib.util.spec_from_file_location("artifacts", "services/mlflow-722ea404.artifacts.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Artifacts(*place, **more)


# In place of MLflow's own, but not of a plugin's.
ways = _artifact_repository_registry.get_registered_artifact_repositories()
if ways["sftp"].__module__.startswith("mlflow."):
    _artifact_repository_registry.register("sftp", artifacts)

FORK = multiprocessing.get_context("fork")


def run(module):
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def become(command, extra_env, **_):
    os.execve(command[0], command, {**os.environ, **extra_env})


def prepare(told):
    """Have MLflow do all that comes before its server, and tell what it would start then."""

    def tell(command, extra_env, **_):
        told.send((command, extra_env))
        sys.exit()

    mlflow.server._exec_cmd = tell
    run("mlflow")


if sys.platform == "darwin":
    mlflow.server._exec_cmd = become
    sys.exit(run("mlflow"))

# In a process that ends: a connection to the database must not be shared by forks.
answer, told = FORK.Pipe(duplex=False)
preparation = FORK.Process(target=prepare, args=(told,))
preparation.start()
told.close()
try:
    command, extra_env = answer.recv()
except EOFError:
    preparation.join()
    sys.exit(preparation.exitcode)
preparation.join()

if command[1:3] != ["-m", "uvicorn"]:
    become(command, extra_env)
os.environ.update(extra_env)
uvicorn._subprocess.spawn = FORK
# What is there now stays: to look for garbage in it would make workers copy it.
gc.collect()
gc.freeze()
sys.argv = command[2:]
run("uvicorn")
