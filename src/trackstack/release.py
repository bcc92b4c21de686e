"""Renders a plan into a release: every file of the server. The same plan gives the same bytes."""

from trackstack.desired import Release, ReleaseFile, content_id
from trackstack.outputs import Outputs
from trackstack.plan import Plan
from trackstack.templating import render

_UNNAMED = "00000000"


def render_release(plan: Plan, outputs: Outputs) -> dict[str, object]:
    """The content of the release that the plan asks for.

    Settings of nginx and of MLflow are named by their own hash, so that a machine restarts
    only what changed, and can run a new MLflow beside the old.

    Returns:
        Every field of a Release but those of any document.
    """
    mlflow_values = {
        "version": plan.mlflow.version,
        "workers": plan.mlflow.workers,
        "database": plan.mlflow.database,
        "artifacts": plan.mlflow.artifacts,
        "hosts": plan.nginx.hosts,
        "origins": [f"http://{host}" for host in plan.nginx.hosts],
        "packages": content_id(plan.packages),
    }
    mlflow = f"mlflow-{_hash_of(_mlflow_files(_UNNAMED, mlflow_values))}"
    nginx_values = {
        "address": plan.nginx.address,
        "port": plan.nginx.port,
        "names": sorted({host.rpartition(":")[0] for host in plan.nginx.hosts}),
        "mlflow": mlflow,
    }
    nginx = _hash_of(_nginx_files(_UNNAMED, nginx_values))
    files = {**_mlflow_files(mlflow, mlflow_values), **_nginx_files(nginx, nginx_values)}
    return {
        "files": tuple(ReleaseFile(path=path, content=files[path]) for path in sorted(files)),
        "packages": plan.packages,
        "mlflow": mlflow,
        "host": plan.nginx.hosts[0],
        "nginx": nginx,
        "url": outputs.url,
    }


def same_server(release: Release, content: dict[str, object]) -> bool:
    """Whether a stored release is the server that freshly rendered content describes."""
    common = release.model_dump(exclude=set(content))
    return Release.model_validate({**common, **content}).id == release.id


def _mlflow_files(name: str, values: dict[str, object]) -> dict[str, str]:
    values = {**values, "mlflow": name}
    return {
        f"services/{name}.conf": render("supervisor/mlflow.conf.j2", values),
        f"services/{name}.env": render("supervisor/mlflow.env.j2", values),
        f"services/{name}.sh": render("supervisor/mlflow.sh.j2", values),
    }


def _nginx_files(name: str, values: dict[str, object]) -> dict[str, str]:
    values = {**values, "nginx": name}
    return {
        "nginx/nginx.conf": render("nginx/nginx.conf.j2", values),
        "services/nginx.conf": render("supervisor/nginx.conf.j2", values),
        "services/nginx.sh": render("supervisor/nginx.sh.j2", values),
    }


def _hash_of(files: dict[str, str]) -> str:
    return content_id(files)[:8]
