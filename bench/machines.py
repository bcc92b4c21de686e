"""A cloud's machine from power-on, beside the tutorial's start script on the same Debian.

Both boot in the box, one after the other, from the same root, as the same machine with blank disks.
The tutorial's server listens on port 443, which the box lets a client reach, in plain HTTP.
"""

import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx

from bench.client import Client, Login, Place
from bench.figures import Sample
from bench.load import p50, throughput
from box.deployed import NAME, USER, Box, box
from trackstack.lock import DEFAULT_MLFLOW

ROTATIONS = 20
ALLOWED_SECONDS = 15.0
"""How long a rotation may take from the command until it holds."""
CLIENTS = 8
SECONDS = 5.0
GIVE_UP_SECONDS = 600.0
PORT = 443
_PASSWORD = "as-the-tutorial-has-it"  # noqa: S105  of a machine that lives for minutes

# As it stands it does not come up on Debian 13: pip refuses to touch the system's packages, and
# cannot remove one of them.
TUTORIAL = f"""#!/bin/sh
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install -y tmux python3-pip
pip install --break-system-packages --ignore-installed mlflow=={DEFAULT_MLFLOW} google-cloud-storage
cd /root
tmux new-session -d "mlflow server --backend-store-uri sqlite:///mlflow.db \\
  --default-artifact-root gs://bucket --host localhost"
apt-get install -y nginx apache2-utils
htpasswd -bc /etc/nginx/.htpasswd {USER} {_PASSWORD}
cat >/etc/nginx/sites-available/default <<'END'
server {{
  listen {PORT};
  location / {{
    proxy_pass http://localhost:5000;
    auth_basic "Restricted Content";
    auth_basic_user_file /etc/nginx/.htpasswd;
  }}
}}
END
systemctl restart nginx
"""


def machines(folder: Path, rounds: int) -> Iterator[Sample]:
    """First boots, memory at idle, log_metric from another host, and rotations; needs root."""
    with box("gcp", folder / "machines") as deployed:
        deployed.first_deploy()
        ours = deployed.machine.user_data
        for _ in range(rounds):
            kit = _measured(deployed, ours, tls=True)
            tutorial = _measured(deployed, TUTORIAL, tls=False)
            for goal, value in kit.items():
                yield Sample(goal, value, tutorial[goal])
        _boot_anew(deployed, ours)
        _wait_for_page(deployed, tls=True)
        took = [_rotation(deployed, folder) for _ in range(ROTATIONS)]
        yield Sample("edge", statistics.median(took), ALLOWED_SECONDS)
        yield Sample("edge-worst", max(took), ALLOWED_SECONDS)


def _measured(deployed: Box, user_data: str, tls: bool) -> dict[str, float]:
    began = _boot_anew(deployed, user_data)
    _wait_for_page(deployed, tls)
    took = time.monotonic() - began
    place = Place(deployed.machine.address, PORT, authorities=_authority(deployed, tls))
    login = Login(USER, deployed.password() if tls else _PASSWORD)
    connect = partial(Client, place, login)

    def alone() -> float:
        with connect() as client:
            return p50(client, SECONDS)

    return {
        "first-boot": took,
        "machine-memory": _megabytes(deployed),
        "machine-latency": deployed.inside.inside(alone) * 1000,
        # The threads that it starts are in the namespace of the one that starts them.
        "machine-throughput": deployed.inside.inside(lambda: throughput(connect, CLIENTS, SECONDS)),
    }


def _boot_anew(deployed: Box, user_data: str) -> float:
    """Give the machine another root and a blank disk, and switch it on; when that was."""
    machine = deployed.machine
    deployed.machines.stop(machine, kindly=False)
    for part in ("upper", "work", "root"):
        shutil.rmtree(machine.folder / part)
    for volume in machine.volumes:
        (deployed.machines.volume(volume) / "disk").unlink()
    machine.user_data = user_data
    began = time.monotonic()
    deployed.start_again()
    return began


def _authority(deployed: Box, tls: bool) -> Path | None:
    """What to trust: each first boot makes an authority, which the laptop asks for."""
    if not tls:
        return None
    file = deployed.folder / "authority.pem"
    deployed.laptop.run("env", "-e", NAME, "--json")
    shutil.copy(deployed.laptop.folder(NAME) / "ca.pem", file)
    return file


def _wait_for_page(deployed: Box, tls: bool) -> None:
    url = f"{'https' if tls else 'http'}://{deployed.machine.address}:{PORT}/"
    login = (USER, deployed.password() if tls else _PASSWORD)
    until = time.monotonic() + GIVE_UP_SECONDS
    with httpx.Client(verify=False, trust_env=False, timeout=5, auth=login) as client:  # noqa: S501
        while time.monotonic() < until:
            try:
                answer = client.get(url)
                # Debian's own first page of nginx is an answer too.
                if answer.status_code == 200 and "MLflow" in answer.text:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.05)
    sys.exit(f"{url} never came up:\n{deployed.console()}")


def _megabytes(deployed: Box) -> float:
    """Memory of all that runs in the machine; what several share is shared out."""
    told = deployed.guest.run("cat /proc/[0-9]*/smaps_rollup 2>/dev/null | grep ^Pss: || true")
    return sum(int(line.split()[1]) for line in told.splitlines()) / 1024


def _rotation(deployed: Box, folder: Path) -> float:
    """Seconds of the command, which ends when the machine says that the new password holds."""
    old = deployed.password()
    began = time.monotonic()
    deployed.laptop.run("users", "rotate", USER, "-e", NAME, "--password-file", folder / "password")
    took = time.monotonic() - began
    if (deployed.status(), deployed.status(password=old)) != (200, 401):
        sys.exit("a rotation that was said to hold does not")
    return took
