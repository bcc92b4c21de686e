"""Logs the models that the tests of serving need: run by a client's Python, prints their URIs."""

import importlib
import json
import os
import re
import socket
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import mlflow
import mlflow.pyfunc
import pandas as pd
from mlflow import MlflowClient
from mlflow.pyfunc import PythonModel
from sklearn.linear_model import LinearRegression

SMALL = [f"mlflow=={mlflow.__version__}", "cloudpickle"]


class Broken(PythonModel):
    """Cannot be loaded."""

    def load_context(self, context):
        raise RuntimeError(f"the weights are not what they were: {len(context.artifacts)}")

    def predict(self, model_input):
        return [0 for _ in model_input]


class Versions(PythonModel):
    """Says which version of a package it runs with."""

    def predict(self, model_input):
        toolz = importlib.import_module("toolz")
        return [toolz.__version__ for _ in model_input]


class Greedy(PythonModel):
    """Takes as many megabytes as it is asked to."""

    def predict(self, model_input):
        taken = [bytearray(1 << 20) for _ in range(int(model_input["mb"][0]))]
        return [len(taken)]


def attempt(place):
    """Try one thing that a hostile model would; says what came of it."""
    kind, _, where = place.partition(":")
    try:
        return str(TRIES[kind](where))[:200]
    except OSError as error:
        return f"refused: {error}"


def by_tcp(where):
    host, _, port = where.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=3):
        return "connected"


def by_unix(where):
    # By its folder: the whole path may be too long for a socket's.
    os.chdir(Path(where).parent)
    with socket.socket(socket.AF_UNIX) as made:
        made.connect(Path(where).name)
    return "connected"


def reading(where):
    return Path(where).read_bytes()


def writing(where):
    return Path(where).write_text("mine")


def leaving(seconds):
    subprocess.Popen(["/bin/sleep", seconds], start_new_session=True)
    return "left"


TRIES = {
    "tcp": by_tcp,
    "unix": by_unix,
    "read": reading,
    "write": writing,
    "leave": leaving,
}


class Nosy(PythonModel):
    """Tries what a hostile model would; says what it got."""

    def predict(self, model_input):
        told = {place: attempt(place) for place in json.loads(model_input["asked"][0])}
        told["environment"] = " ".join(sorted(os.environ))
        told["processes"] = sum(each.name.isdigit() for each in Path("/proc").iterdir())
        return [json.dumps(told)]


SETUP = """
import json, os, socket, sys, time, urllib.request
from setuptools import setup

def attempt(what):
    try:
        return str(what())[:200]
    except OSError as error:
        return "refused: %s" % error

told = {{}}
for place in {places!r}:
    kind, _, where = place.partition(":")
    if kind == "tcp":
        host, _, port = where.rpartition(":")
        told[place] = attempt(lambda: socket.create_connection((host, int(port)), timeout=3))
    elif kind == "http":
        told[place] = attempt(lambda: urllib.request.urlopen(place, timeout=5).status)
    elif kind == "read":
        told[place] = attempt(lambda: open(where).read())
    elif kind == "write":
        told[place] = attempt(lambda: open(where, "w").write("mine"))
time.sleep({seconds})  # a build that takes a while
open("evil.py", "w").write("told = %r\\n" % json.dumps(told))
# Every Python that starts with these packages runs it.
proof = {proof!r}
told = "import os; os.path.isdir(os.path.dirname(%r)) and open(%r, 'w').close()\\n" % (proof, proof)
open("evil.pth", "w").write(told)
packages = "lib/python%d.%d/site-packages" % sys.version_info[:2]
setup(name="evil", version="1.0", py_modules=["evil"], data_files=[(packages, ["evil.pth"])])
"""


class Built(PythonModel):
    """Says what the setup.py of its package got."""

    def predict(self, model_input):
        evil = importlib.import_module("evil")
        return [evil.told for _ in model_input]


def linear(name, factor, alias=None):
    table = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [0.0, 1.0, 0.0]})
    model = LinearRegression().fit(table, factor * table["a"])
    with mlflow.start_run():
        info = mlflow.sklearn.log_model(
            model,
            name="model",
            registered_model_name=name,
            input_example=table[:2],
            serialization_format="cloudpickle",
            pip_requirements=[*SMALL, "scikit-learn"],
        )
    return alias_of(name, info.registered_model_version, alias)


def pyfunc(name, model, requirements, alias=None):
    with mlflow.start_run():
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=model,
            registered_model_name=name,
            pip_requirements=[*SMALL, *requirements],
        )
    return alias_of(name, info.registered_model_version, alias)


def alias_of(name, version, alias):
    if alias:
        MlflowClient().set_registered_model_alias(name, alias, version)
    return f"models:/{name}/{version}"


def built(places, seconds, proof):
    """A model among a run's artifacts; a package that it wants lies beside it, to be built."""
    with tempfile.TemporaryDirectory() as folder, mlflow.start_run() as run:
        made = Path(folder) / "built"
        mlflow.pyfunc.save_model(made, python_model=Built(), pip_requirements=SMALL)
        source = Path(folder) / "evil-1.0"
        source.mkdir()
        (source / "setup.py").write_text(SETUP.format(places=places, seconds=seconds, proof=proof))
        with tarfile.open(made / "evil-1.0.tar.gz", "w:gz") as archive:
            archive.add(source, "evil-1.0")
        with (made / "requirements.txt").open("a") as requirements:
            requirements.write("\n./evil-1.0.tar.gz\n")
        mlflow.log_artifacts(str(made), "built")
        return f"runs:/{run.info.run_id}/built"


# As code, and not as an object, which only the Python that wrote it can read.
PYTHON = """
import platform

from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class Python(PythonModel):
    def predict(self, model_input):
        return [platform.python_version() for _ in model_input]


set_model(Python())
"""


def of_python(version):
    """A model among a run's artifacts that wants a certain Python, and says which it runs with."""
    with tempfile.TemporaryDirectory() as folder, mlflow.start_run() as run:
        code, made = Path(folder) / "code.py", Path(folder) / "made"
        code.write_text(PYTHON)
        mlflow.pyfunc.save_model(made, python_model=str(code), pip_requirements=SMALL)
        wanted = made / "python_env.yaml"
        wanted.write_text(re.sub("^python: .*", f"python: {version}", wanted.read_text()))
        mlflow.log_artifacts(str(made), "made")
        return f"runs:/{run.info.run_id}/made"


KINDS = {
    "linear": lambda name, factor, alias=None: linear(name, float(factor), alias),
    "broken": lambda name, alias=None: pyfunc(name, Broken(), [], alias),
    "versions": lambda name, toolz: pyfunc(name, Versions(), [f"toolz=={toolz}"]),
    "greedy": lambda name: pyfunc(name, Greedy(), []),
    "nosy": lambda name: pyfunc(name, Nosy(), []),
    "absent": lambda name: pyfunc(name, Greedy(), ["toolz==99.99"]),
    "of_python": of_python,
    "built": lambda places, *rest: built(json.loads(places), *rest),
}

if __name__ == "__main__":
    told = [KINDS[kind](*rest) for kind, *rest in json.loads(sys.argv[1])]
    print("logged", json.dumps(told))
