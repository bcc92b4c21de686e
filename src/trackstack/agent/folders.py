"""The machine's folder. The agent and every service are started in it and name paths from it.

Relative paths keep the sockets' short: a socket's path may hold 104 bytes (macOS) or 108
(Linux), and a home folder alone can be longer.
"""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from secrets import token_hex
from stat import S_IMODE, S_ISDIR, S_ISREG

from trackstack.durable import write_durably

SHARED_MODE = 0o750
"""Of this folder, where the agent and its services are users of one group."""
USERS = Path("users")
RELEASES = Path("releases")
LIVE = Path("live")
"""A link to the release that serves."""
SERVICES = Path("services")
NGINX_SETTINGS = Path("nginx.conf")
"""A link to the settings nginx runs with."""
NGINX_CANDIDATE = Path("nginx-candidate.conf")
"""Beside it, so that relative paths in settings on trial mean the same."""
PACKAGES = Path("packages")
DATA = Path("data")
ARTIFACTS = DATA / "artifacts"
SECRETS = DATA / "secrets.env"
STORES = DATA / "stores.env"
"""Credentials of an outer database or bucket, as the laptop gave them."""
TLS = DATA / "tls"
UNSHOWN_CERTIFICATE = TLS / ".unshown"
"""No name begins so. Is there from before a certificate is renewed until nginx has been told."""
SHOWN_FILES = TLS / ".shown"
"""The hash of the certificate and key given as files that nginx was told of last."""
CLEANED = DATA / "cleaned"
"""Holds the generation of the last clean-up that was carried out."""
RUN = Path("run")
NGINX_SOCKET = RUN / "nginx.sock"
NGINX_PID = RUN / "nginx.pid"
BUCKET_AWAY = Path("bucket-away")
"""Is there while the control bucket does not answer, and so the one with the artifacts neither."""
SUPERVISOR_SOCKET = RUN / "supervisor.sock"
LOGS = Path("logs")
MLFLOW_LOG = LOGS / "mlflow.log"
NGINX_LOG = LOGS / "nginx.jsonl"
NGINX_ERRORS = LOGS / "nginx-errors.log"
AGENT_LOG = LOGS / "agent.log"
LAUNCHER_LOG = LOGS / "launcher.log"
"""What a supervisor said that did not come up."""
TEMPORARY = Path("tmp")
MODEL_FILES = Path("models/files")
"""What served models consist of, as MLflow stores it; a folder for each version."""
MODEL_ENVIRONMENTS = Path("models/environments")
"""The Python packages of served models."""
MODEL_PYTHONS = Path("models/pythons")
"""Versions of Python that models want and this computer lacks."""
MODELS_WANTED = Path("models/wanted.json")
"""Which models are to be served, as the agent read it last."""
MODEL_WALLED = Path("models/walled")
"""What stands within walls that are units of systemd, a folder for each; or a container's door."""
MODEL_SERVERS = RUN / "models"
"""A folder for each model's server, with its socket."""
SERVED = RUN / "served"
"""Holds a link for each model that answers, to its server's folder; nginx looks here."""

ALL = (USERS, RELEASES, SERVICES, PACKAGES, DATA, ARTIFACTS, TLS, RUN, LOGS, TEMPORARY)
OF_MODELS = (
    *(MODEL_FILES, MODEL_ENVIRONMENTS, MODEL_PYTHONS, MODEL_WALLED),
    *(MODEL_SERVERS, SERVED),
)
"""There only where models are served."""


def make_all(wanted: Iterable[Path] = ALL) -> None:
    """Make folders below the one this process runs in, for the owner, or for a group."""
    for folder in wanted:
        if folder.parent == RUN and not _is_own(folder):
            give_way(folder)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700 | _shared())


def give_way(path: Path) -> None:
    """Have nothing at a path in a folder of the agent's, whatever a service has put there."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        # A folder; one that may not be emptied can still be called otherwise.
        aside = path.with_name(f".{path.name}-{token_hex(4)}")
        path.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def is_own_file(path: Path) -> bool:
    """Whether this process's user has made a file; a link is none."""
    told = _lstat(path)
    return told is not None and S_ISREG(told.st_mode) and told.st_uid == os.geteuid()


def _is_own(folder: Path) -> bool:
    told = _lstat(folder)
    return told is None or (S_ISDIR(told.st_mode) and told.st_uid == os.geteuid())


def _lstat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


def log_of(service: str, machine: Path = Path()) -> Path:
    """The log of nginx, MLflow, the agent or, as 'model-NAME', of a model's newest server."""
    fixed = {"nginx": NGINX_LOG, "mlflow": MLFLOW_LOG, "agent": AGENT_LOG}
    if service in fixed:
        return machine / fixed[service]
    of_servers = (machine / LOGS).glob(f"{service}.????????.log")
    newest = max(of_servers, key=lambda log: log.stat().st_mtime, default=None)
    return newest or machine / model_log(service)


def model_log(service: str) -> Path:
    """Where a model's code writes what it says."""
    return LOGS / f"{service}.log"


def write(path: Path, data: bytes) -> None:
    """Put a file in place, durably, that a service reads under whatever user it has."""
    write_durably(path, data, 0o600 | _shared() & 0o440)


def is_shared() -> bool:
    """Whether services have users of their own, of the agent's group."""
    return S_IMODE(Path().stat().st_mode) == SHARED_MODE


def _shared() -> int:
    return 0o050 if is_shared() else 0


def mlflow_socket(service: str) -> Path:
    """Where an MLflow service listens."""
    return RUN / f"{service}.sock"
