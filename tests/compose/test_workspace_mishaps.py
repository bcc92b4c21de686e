"""A client, a deploy and a clean-up that go wrong half-way, and what is left of it."""

import base64
import json
import os
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx

from compose.engine import Engine
from compose.workspace import OWNER, Workspace, a_workspace
from kits import eventually
from trackstack.tracking import http_client

BACK_SECONDS = 240


def serves(workspace: Workspace) -> bool:
    return workspace.run("verify", "--quick", ok=False).returncode == 0


def kept_of(workspace: Workspace, folder: str) -> str:
    """The files in a folder of the artifact store, of whatever name."""
    return workspace.inside("sftp", "find", f"/artifacts/{folder}", "-type", "f").stdout


def test_of_a_client_that_hangs_up_in_mid_upload_nothing_stays(workspace: Workspace) -> None:
    password = workspace.client_variables()["MLFLOW_TRACKING_PASSWORD"]
    login = base64.b64encode(f"{OWNER}:{password}".encode()).decode()
    request = (
        "PUT /api/2.0/mlflow-artifacts/artifacts/hung-up/file.bin HTTP/1.1\r\n"
        f"Host: 127.0.0.1:{workspace.port}\r\nAuthorization: Basic {login}\r\n"
        f"Content-Length: {50 << 20}\r\n\r\n"
    )
    context = ssl.create_default_context(cafile=workspace.authorities)

    def begin_and_hang_up() -> None:
        place = ("127.0.0.1", workspace.port)
        with (
            socket.create_connection(place, timeout=30) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as encrypted,
        ):
            encrypted.sendall(request.encode() + os.urandom(10 << 20))
            assert eventually(lambda: ".new" in kept_of(workspace, "hung-up")), "it never began"

    workspace.engine.inside(begin_and_hang_up)
    assert eventually(lambda: kept_of(workspace, "hung-up") == ""), kept_of(workspace, "hung-up")


def test_what_the_artifact_store_has_no_room_for_is_refused_and_leaves_nothing(
    workspace: Workspace,
) -> None:
    workspace.inside("sftp", "mkdir", "-p", "/artifacts/full")
    owner = workspace.inside("sftp", "stat", "-c", "uid=%u,gid=%g", "/artifacts").stdout.strip()
    mount = f"mount -t tmpfs -o size=1m,mode=0700,{owner} tmpfs /artifacts/full"
    in_sftp(workspace, mount)
    password = workspace.client_variables()["MLFLOW_TRACKING_PASSWORD"]
    place = f"{workspace.url}/api/2.0/mlflow-artifacts/artifacts/full/file.bin"

    def send(size: int) -> httpx.Response:
        with http_client(workspace.url, workspace.authorities, (OWNER, password)) as client:
            return client.put(place, content=os.urandom(size))

    try:
        assert workspace.engine.inside(lambda: send(100_000)).status_code == 200
        refused = workspace.engine.inside(lambda: send(8 << 20))
        left = workspace.inside("sftp", "sh", "-c", "cd /artifacts/full; stat -c '%s %n' * .*new")
    finally:
        in_sftp(workspace, "umount /artifacts/full")
    assert refused.status_code == 500, refused.text
    assert left.stdout.splitlines() == ["100000 file.bin"], "the older file is not what it was"


def in_sftp(workspace: Workspace, command: str) -> None:
    """Do something as root where the artifact store's files are, as nothing in there may."""
    container = workspace.containers()["sftp"]
    image = f"{workspace.project_name}-sftp"
    enter = ("nsenter", "--target", "1", "--mount", "--", *command.split())
    flags = ("--privileged", "--user", "0", "--pid", f"container:{container}", "--entrypoint")
    workspace.engine.docker("run", "--rm", *flags, enter[0], image, *enter[1:])


def test_a_server_that_does_not_run_is_told_at_once(workspace: Workspace) -> None:
    workspace.docker("stop", "tracking")
    try:
        done = workspace.run("notebook", ok=False, timeout=30)
        seen = json.loads(workspace.run("status", "--json", ok=False).stdout)
    finally:
        workspace.run("deploy", "compose")
    assert (seen["state"], done.returncode) == ("stopped", 3)
    assert done.stderr.startswith("error: Environment 'compose' does not run.\n")


def health(workspace: Workspace) -> str:
    """What Docker makes of the server's container."""
    shown = ("inspect", "--format", "{{.State.Health.Status}}")
    return workspace.engine.docker(*shown, workspace.containers()["tracking"]).stdout.strip()


def test_a_server_that_starts_is_healthy_no_sooner_than_a_login_can_read(
    workspace: Workspace,
) -> None:
    password = workspace.client_variables()["MLFLOW_TRACKING_PASSWORD"]
    workspace.docker("restart", "tracking")
    assert eventually(lambda: health(workspace) == "healthy", BACK_SECONDS)
    assert workspace.status_of(OWNER, password) == 200


def killed(workspace: Workspace, when: Callable[[], bool]) -> None:
    """Start a deploy, and kill it with all it started when something has come true."""
    with subprocess.Popen(
        [*workspace.command, *workspace.deploying],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=workspace.environment,
        cwd=workspace.home.parent,
        start_new_session=True,
    ) as deploy:
        came = eventually(lambda: deploy.poll() is not None or when(), BACK_SECONDS)
        over = deploy.poll()
        os.killpg(deploy.pid, signal.SIGKILL)
    assert came, "nothing of the kind happened"
    assert over is None, f"the deploy was over, with {over}"


def test_what_was_killed_in_mid_work_or_cleaned_away_is_made_whole_by_the_next_deploy(
    engine: Engine, tmp_path: Path
) -> None:
    with a_workspace(engine, tmp_path / "mishaps") as made:
        killed(made, when=(made.project / "client").is_dir)
        assert not (made.project / ".made").exists(), "it was killed after the images were made"
        killed(made, when=lambda: made.left().get("containers", 0) > 0)
        made.up()
        assert serves(made)
        run = made.json("notebook")["run"]

        removed = made.json("destroy", "--yes")
        volumes = {each["name"].rpartition("_")[2] for each in removed["left"]}
        assert volumes == {"tracking", "models", "scratch", "postgres", "artifacts", "notebooks"}
        # What `docker system prune --all` does to them, which would take the base too.
        engine.docker("image", "rm", *set(made.docker("config", "--images").stdout.split()))
        assert made.left() == {"volumes": 6}
        made.run("deploy", "compose", timeout=600)
        assert serves(made)
        program = "import mlflow, sys; print(mlflow.get_run(sys.argv[1]).info.status)"
        asked = made.client("-c", program, run, folder=tmp_path / "asks")
        assert asked.stdout.strip() == "FINISHED"
