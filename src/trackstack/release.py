"""Renders a plan into a release: every file of the server. The same plan gives the same bytes."""

from collections.abc import Iterator

from trackstack.agent.ensure_stores import parse
from trackstack.cloud_plan import Aws
from trackstack.desired import ManagedDatabase, Release, ReleaseFile, content_id
from trackstack.outputs import Outputs
from trackstack.plan import HTTPS, Nginx, Plan, with_outputs
from trackstack.templating import render

_UNNAMED = "00000000"
_OWN_ARTIFACTS = {
    "sftp": "supervisor/artifacts_sftp.py",
    "s3": "supervisor/artifacts_s3.py",
    "gs": "supervisor/artifacts_gs.py",
}
"""What takes the place of MLflow's own way to artifacts, by the kind of their address."""


def render_release(plan: Plan, outputs: Outputs) -> dict[str, object]:
    """The content of the release that the plan asks for.

    Settings of nginx and of MLflow are named by their own hash, so that a machine restarts
    only what changed, and can run a new MLflow beside the old.

    Returns:
        Every field of a Release but those of any document.
    """
    plan = with_outputs(plan, outputs)
    mlflow_values = {
        "version": plan.mlflow.version,
        "workers": plan.mlflow.workers,
        "database": plan.mlflow.database,
        "artifacts": plan.mlflow.artifacts,
        "artifacts_endpoint": plan.mlflow.artifacts_endpoint,
        "secrets": plan.mlflow.secrets,
        # Amazon's client asks another region first when it is not told, and never finds China's.
        "region": plan.cloud.region if isinstance(plan.cloud, Aws) else None,
        "hosts": plan.nginx.hosts,
        "origins": list(dict.fromkeys((outputs.url, *_origins(plan.nginx)))),
        "packages": content_id(plan.packages),
    }
    mlflow = f"mlflow-{_hash_of(_mlflow_files(_UNNAMED, mlflow_values))}"
    nginx_values = {
        "address": plan.nginx.address,
        "port": plan.nginx.port,
        "names": plan.nginx.names,
        "tls": plan.nginx.tls,
        "certificates": _certificates(plan.nginx),
        "proxies": plan.nginx.proxies,
        "bucket": plan.cloud is not None,
        "mlflow": mlflow,
        "jupyter_port": plan.compose.jupyter_port if plan.compose else None,
    }
    nginx = _hash_of(_nginx_files(_UNNAMED, nginx_values))
    files = {**_mlflow_files(mlflow, mlflow_values), **_nginx_files(nginx, nginx_values)}
    return {
        "files": tuple(ReleaseFile(path=path, content=files[path]) for path in sorted(files)),
        "packages": plan.packages,
        "mlflow": mlflow,
        "host": plan.nginx.hosts[0],
        "nginx": nginx,
        "url": f"http://127.0.0.1:{plan.nginx.port}",
        "certificates": plan.nginx.names if plan.nginx.tls == "own" else (),
        **_database(outputs),
    }


def _database(outputs: Outputs) -> dict[str, object]:
    if outputs.database_host is None or outputs.database_secret is None:
        return {}
    managed = ManagedDatabase(secret=outputs.database_secret, host=outputs.database_host)
    return {"database": managed}


def _certificates(nginx: Nginx) -> list[dict[str, object]]:
    """What nginx shows whom; the first to a client that names nobody, as one by address does."""
    if nginx.tls == "files":
        return [{"names": nginx.names, "chain": nginx.certificate, "key": nginx.key}]
    if nginx.tls != "own":
        return []
    # A client that calls an address sends no name: an address goes first.
    ordered = sorted(nginx.names, key=lambda name: not name.replace(".", "").isdigit())
    return [
        {
            "names": (name,),
            "chain": f"data/tls/{name}/leaf.pem",
            "key": f"data/tls/{name}/leaf.key",
        }
        for name in ordered
    ]


def _origins(nginx: Nginx) -> Iterator[str]:
    """The pages that may call MLflow: its own, in plain HTTP where the machine asks itself."""
    for host in nginx.hosts:
        name = host.partition(":")[0]
        local = name in ("127.0.0.1", "localhost") and name not in nginx.names
        scheme = "http" if local or nginx.tls == "none" else "https"
        # A browser leaves out the port that https has anyway.
        yield f"{scheme}://{name if nginx.port == HTTPS and scheme == 'https' else host}"


def same_server(release: Release, content: dict[str, object]) -> bool:
    """Whether a stored release is the server that freshly rendered content describes."""
    common = release.model_dump(exclude=set(content))
    return Release.model_validate({**common, **content}).id == release.id


def mlflow_settings(content: dict[str, object]) -> dict[str, str]:
    """MLflow's environment variables in a rendered release, without credentials."""
    files: tuple[ReleaseFile, ...] = content["files"]  # type: ignore[assignment]
    path = f"services/{content['mlflow']}.env"
    return parse(next(file.content for file in files if file.path == path))


def _mlflow_files(name: str, values: dict[str, object]) -> dict[str, str]:
    kind = str(values["artifacts"]).partition(":")[0]
    own = kind if kind in _OWN_ARTIFACTS else None
    values = {**values, "mlflow": name, "own_artifacts": own}
    files = {
        f"services/{name}.conf": render("supervisor/mlflow.conf.j2", values),
        f"services/{name}.env": render("supervisor/mlflow.env.j2", values),
        f"services/{name}.py": render("supervisor/mlflow.py.j2", values),
        f"services/{name}.sh": render("supervisor/mlflow.sh.j2", values),
    }
    if own is not None:
        files[f"services/{name}.artifacts.py"] = render(_OWN_ARTIFACTS[own], values)
    return files


def _nginx_files(name: str, values: dict[str, object]) -> dict[str, str]:
    values = {**values, "nginx": name}
    return {
        "nginx/nginx.conf": render("nginx/nginx.conf.j2", values),
        "services/nginx.conf": render("supervisor/nginx.conf.j2", values),
        "services/nginx.sh": render("supervisor/nginx.sh.j2", values),
    }


def _hash_of(files: dict[str, str]) -> str:
    return content_id(files)[:8]
