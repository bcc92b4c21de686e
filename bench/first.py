"""From nothing to a server with a login: `make up`, and the tutorial's steps as a script."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from bench.contenders import PASSWORD, USER
from bench.figures import Sample
from kits import CACHE, Kit, free_port, running_kit

ROOT = Path(__file__).parent.parent

TUTORIAL = """
set -eu
cd "$1"
python3 -m venv venv
venv/bin/pip install --quiet mlflow=="$2"
printf '%s' "$3" | htpasswd -i -c htpasswd "$4"
cat >nginx.conf <<SETTINGS
pid $1/nginx.pid;
error_log $1/error.log;
$7
events {}
http {
    access_log off;
    server {
        listen 127.0.0.1:$5;
        location / {
            proxy_pass http://localhost:$6;
            auth_basic "Restricted Content";
            auth_basic_user_file $1/htpasswd;
        }
    }
}
SETTINGS
venv/bin/mlflow server --host localhost --port "$6" >mlflow.log 2>&1 &
nginx -p "$1" -c "$1/nginx.conf" -e error.log
until curl --fail --silent --output /dev/null --user "$4:$3" \\
    --json '{"max_results": 1}' http://127.0.0.1:"$5"/api/2.0/mlflow/experiments/search
do
    sleep 0.1
done
"""


def first_starts(folder: Path, round_: int, mlflow: str) -> Iterator[Sample]:
    """Both from a fresh folder, their caches of packages warm."""
    ours = _ours(folder / f"ours-{round_}")
    yield Sample("first", ours, _tutorials(folder / f"tutorial-{round_}", mlflow))


def _ours(folder: Path) -> float:
    folder.mkdir()
    subprocess.run(["git", "clone", "--quiet", ROOT, folder / "trackstack"], check=True)
    with running_kit(folder / "home") as kit:
        began = time.perf_counter()
        subprocess.run(
            ["make", "--silent", "up", f"ARGS=--port {kit.port}"],
            cwd=folder / "trackstack",
            check=True,
            capture_output=True,
            env=_environment(kit),
        )
        return time.perf_counter() - began


def _environment(kit: Kit) -> dict[str, str]:
    return {**kit.environment, "PIP_CACHE_DIR": str(CACHE / "pip")}


def _tutorials(folder: Path, mlflow: str) -> float:
    front, back = str(free_port()), str(free_port())
    # Root's workers would be another user's, who may not read this folder.
    root = "user root;" if os.geteuid() == 0 else ""
    with running_kit(folder / "home") as kit:
        kit.home.mkdir(parents=True)
        began = time.perf_counter()
        subprocess.run(
            ["sh", "-c", TUTORIAL, "sh", kit.home, mlflow, PASSWORD, USER, front, back, root],
            check=True,
            env=_environment(kit),
            stdout=subprocess.DEVNULL,
        )
        return time.perf_counter() - began
