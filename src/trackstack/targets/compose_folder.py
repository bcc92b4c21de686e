"""The folder that `docker compose` runs: what is rendered from the plan, and the secrets beside."""

import re
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from trackstack import agent_archive, bundle, lock
from trackstack.compose_plan import SFTP, Compose
from trackstack.desired import content_id
from trackstack.durable import write_durably
from trackstack.plan import Plan
from trackstack.templating import render

SETTINGS = "compose.yaml"
TOKEN = "secrets/jupyter/token"  # noqa: S105  the name of a file
STORES = "secrets/tracking/stores.env"
_CREDENTIALS = "secrets/jupyter/mlflow-credentials"
_DATABASE_PASSWORD = "secrets/postgres/database-password"  # noqa: S105  likewise
_CLIENT_KEY, _HOST_KEY = "secrets/tracking/sftp-key", "secrets/sftp/host-key"
_DOCKERFILES = (
    "compose/tracking/Dockerfile.j2",
    "compose/postgres/Dockerfile.j2",
    "compose/sftp/Dockerfile.j2",
    "compose/jupyter/Dockerfile.j2",
)
_AS_THEY_ARE = (
    *("tracking/start.sh", "tracking/healthy.sh", "postgres/start.sh", "sftp/sshd_config"),
    *("sftp/healthy.sh", "jupyter/start.sh", "jupyter/healthy.sh"),
    *("jupyter/jupyter_server_config.py", "jupyter/mlflow-example.ipynb"),
    "jupyter/run_notebook.py",
)


def rendered(plan: Plan, compose: Compose, project: str, user: int, group: int) -> dict[str, bytes]:
    """Every file that the containers are made from, by its path in the folder.

    Args:
        plan: what is to exist.
        compose: the plan's.
        project: what Docker calls all of it.
        user: whose number the processes in the containers have.
        group: likewise.
    """
    values = {
        "project": project,
        "user": user,
        "group": group,
        "listen": compose.listen,
        "port": plan.nginx.port,
        "jupyter_port": compose.jupyter_port,
        "base": compose.base,
        "folder": compose.folder,
        "tracking": compose.tracking,
        "sftp": plan.mlflow.artifacts == SFTP,
        "packages": content_id(plan.packages),
    }
    agent = agent_archive.lock("compose")
    fill, uv = _text("fill.sh"), lock.only(agent, "uv")
    texts = {
        SETTINGS: render("compose/compose.yaml.j2", values),
        **{
            name.removeprefix("compose/").removesuffix(".j2"): render(name, values)
            for name in _DOCKERFILES
        },
        **{name: _text(name) for name in _AS_THEY_ARE},
        "tracking/fill.sh": fill,
        "tracking/uv.txt": uv,
        "tracking/agent.txt": agent,
        "tracking/packages.txt": plan.packages,
        "jupyter/fill.sh": fill,
        "jupyter/uv.txt": uv,
        "jupyter/packages.txt": compose.jupyter_packages,
    }
    files = {name: text.encode() for name, text in texts.items()}
    return {**files, "tracking/agent.pyz": agent_archive.archive()}


def made_secrets(folder: Path) -> dict[str, bytes]:
    """The workspace's own secrets: those there are, and new ones for those that are missing.

    What is made from another is made anew each time, so that a kill in between does no harm.
    """
    password = _kept(folder / _DATABASE_PASSWORD) or secrets.token_urlsafe(24).encode()
    client, host = _key(folder / _CLIENT_KEY), _key(folder / _HOST_KEY)
    return {
        _DATABASE_PASSWORD: password,
        "secrets/tracking/pgpass": b"postgres:5432:mlflow:mlflow:" + password + b"\n",
        _CLIENT_KEY: _kept(folder / _CLIENT_KEY) or _private(client),
        "secrets/tracking/known-hosts": b"[sftp]:2222 " + _public(host) + b"\n",
        _HOST_KEY: _kept(folder / _HOST_KEY) or _private(host),
        "secrets/sftp/authorized-keys": b"restrict " + _public(client) + b"\n",
        TOKEN: _kept(folder / TOKEN) or secrets.token_urlsafe(24).encode(),
    }


def write_credentials(folder: Path, user: str, password: str, owner: int | None) -> None:
    """Keep the login of the workspace's own client where MLflow's client looks for it."""
    text = f"[mlflow]\nmlflow_tracking_username = {user}\nmlflow_tracking_password = {password}\n"
    write_durably(folder / _CREDENTIALS, text.encode(), owner=owner)


def password(folder: Path) -> str | None:
    """The password that the workspace's own client has, or None before it has one."""
    kept = _kept(folder / _CREDENTIALS)
    found = re.search(r"password = (\S+)", kept.decode()) if kept else None
    return found[1] if found else None


def project(folder: Path) -> str | None:
    """What Docker calls what the folder has made, or None before there is anything."""
    kept = _kept(folder / SETTINGS)
    found = re.search(r"^name: (\S+)$", kept.decode(), re.MULTILINE) if kept else None
    return found[1] if found else None


def _text(name: str) -> str:
    return (bundle.templates() / "compose" / name).read_text()


def _kept(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None


def _key(file: Path) -> Ed25519PrivateKey:
    kept = _kept(file)
    if kept is None:
        return Ed25519PrivateKey.generate()
    found = load_ssh_private_key(kept, password=None)
    assert isinstance(found, Ed25519PrivateKey)  # noqa: S101  it was written here
    return found


def _private(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def _public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
