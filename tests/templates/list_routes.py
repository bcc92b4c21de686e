"""Prints every route of the installed MLflow: module, methods, path.

How mlflow_routes.txt was made; for another MLflow, with the Python of a machine that runs it:

    packages/ID/bin/python tests/templates/list_routes.py > tests/templates/mlflow_routes.txt
"""

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any

_BY_STARLETTE = {"HEAD", "OPTIONS"}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["_MLFLOW_SERVER_FILE_STORE"] = f"sqlite:///{folder}/mlflow.db"
        # MLflow asks for its database while it is imported.
        mlflow = import_module("mlflow")
        flask_app = import_module("mlflow.server").app
        create_fastapi_app = import_module("mlflow.server.fastapi_app").create_fastapi_app

        lines = {
            f"{flask_app.view_functions[rule.endpoint].__module__} "
            f"{_listed(rule.methods)} {rule.rule}"
            for rule in flask_app.url_map.iter_rules()
        }
        lines |= set(_fastapi(create_fastapi_app(flask_app).routes))
        sys.stdout.write(f"# mlflow {mlflow.__version__}\n")
        sys.stdout.writelines(f"{line}\n" for line in sorted(lines))


def _fastapi(routes: Iterable[Any], prefix: str = "") -> Iterator[str]:
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from _fastapi(inner.routes, prefix + route.include_context.prefix)
        elif getattr(route, "methods", None):
            yield f"{route.endpoint.__module__} {_listed(route.methods)} {prefix}{route.path}"
        elif type(route).__name__ != "Mount":  # Flask is mounted at the root
            raise TypeError(f"a route of a kind this program does not know: {route!r}")


def _listed(methods: Iterable[str]) -> str:
    return ",".join(sorted(set(methods) - _BY_STARLETTE))


if __name__ == "__main__":
    main()
