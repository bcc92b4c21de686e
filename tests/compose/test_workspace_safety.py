"""What strangers, pages and the containers themselves come to in a workspace: nothing of a shell,
no secret, no rights."""

import json
import os
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from compose.workspace import SERVICES, Workspace
from trackstack.tracking import http_client

EACH = pytest.mark.parametrize("service", sorted(SERVICES))
STATUS = {"CapEff": "0000000000000000", "CapBnd": "0000000000000000", "NoNewPrivs": "1"}


def secrets_of(workspace: Workspace) -> dict[str, str]:
    """All that the workspace keeps secret, by the name of its file."""
    found = {}
    for file in sorted((workspace.project / "secrets").rglob("*")):
        if file.is_file() and file.name not in ("known-hosts", "authorized-keys"):
            for word in re.findall(r"[A-Za-z0-9_+/-]{24,}", file.read_text()):
                found[f"{file.parent.name}/{file.name}"] = word
    return found


@EACH
def test_a_container_has_no_rights_and_a_root_that_is_for_reading(
    workspace: Workspace, service: str
) -> None:
    status = workspace.inside(service, "cat", "/proc/self/status").stdout
    told = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert {name: told[name] for name in STATUS} == STATUS
    assert set(told["Uid"].split()) == {"10078"}, "it is somebody that this computer knows"
    for place in ("/", "/opt/trackstack", "/etc", "/usr/bin"):
        assert workspace.inside(service, "touch", f"{place}/mine").returncode != 0, place


def test_only_nginx_is_published_and_only_on_loopback(workspace: Workspace) -> None:
    rows = workspace.docker("ps", "--format", "json").stdout.splitlines()
    published = {
        row["Service"]: {(each["URL"], each["PublishedPort"]) for each in row["Publishers"] or []}
        for row in map(json.loads, rows)
    }
    open_ = {name: {each for each in those if each[1]} for name, those in published.items()}
    ports = {("127.0.0.1", workspace.port), ("127.0.0.1", workspace.jupyter_port)}
    assert {name: those for name, those in open_.items() if those} == {"tracking": ports}


@EACH
def test_no_secret_is_in_a_processs_variables_or_arguments(
    workspace: Workspace, service: str
) -> None:
    read = "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'"
    told = workspace.inside(service, "sh", "-c", read).stdout
    assert "PATH=" in told, "nothing could be read"
    assert [name for name, word in secrets_of(workspace).items() if word in told] == []


def test_no_secret_is_in_images_settings_or_logs(workspace: Workspace) -> None:
    secrets = secrets_of(workspace)
    assert len(secrets) >= 5, secrets.keys()
    docker = workspace.engine.docker
    ids = list(workspace.containers().values())
    images = docker("inspect", "--format", "{{.Image}}", *ids).stdout.split()
    told = {
        "inspect": docker("inspect", *ids, *images).stdout,
        "history": "".join(docker("history", "--no-trunc", each).stdout for each in images),
        "logs": "".join(
            done.stdout + done.stderr for done in (docker("logs", each) for each in ids)
        ),
        "compose.yaml": (workspace.project / "compose.yaml").read_text(),
    }
    for service in ("nginx", "mlflow", "agent"):
        told[f"log of {service}"] = workspace.run("logs", service).stdout
    found = [(p, n) for p, text in told.items() for n, word in secrets.items() if word in text]
    assert found == []


def test_no_secret_is_in_any_layer_of_an_image(workspace: Workspace, tmp_path: Path) -> None:
    # What is there shows that the layers could be read.
    there = "Becomes the supervisor of the machine's folder"
    words = tmp_path / "words"
    words.write_text("\n".join([there, *secrets_of(workspace).values()]))
    images = workspace.docker("config", "--images").stdout.split()
    shown = "{{.GraphDriver.Data.UpperDir}}:{{.GraphDriver.Data.LowerDir}}"
    told = workspace.engine.docker("image", "inspect", "--format", shown, *images).stdout.split()
    layers = sorted({layer for line in told for layer in line.split(":")})
    found = subprocess.run(
        ["grep", "--recursive", "-l", "--text", "--fixed-strings", "--file", words, *layers],
        env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    files = {line.partition("/diff/")[2] for line in found.stdout.splitlines()}
    assert (files, found.stderr) == ({"opt/trackstack/start.sh"}, "")


@pytest.mark.parametrize(
    "place", ["postgres:5432", "sftp:2222"], ids=["the database", "the artifact store"]
)
def test_jupyterlab_does_not_reach(workspace: Workspace, place: str) -> None:
    host, port = place.split(":")
    knock = f"exec 3<>/dev/tcp/{host}/{port}"
    assert workspace.inside("tracking", "bash", "-c", knock).returncode == 0, "nor does the server"
    assert workspace.inside("jupyter", "bash", "-c", knock).returncode != 0
    address = workspace.inside("tracking", "getent", "hosts", host).stdout.split()[0]
    by_address = f"exec 3<>/dev/tcp/{address}/{port}"
    assert workspace.inside("tracking", "bash", "-c", by_address).returncode == 0
    assert workspace.inside("jupyter", "timeout", "5", "bash", "-c", by_address).returncode != 0


def test_jupyterlab_has_no_secret_but_its_own(workspace: Workspace) -> None:
    names = workspace.inside("jupyter", "ls", "/run/secrets").stdout.split()
    assert sorted(names) == ["mlflow-credentials", "token"]


@pytest.fixture
def lab(workspace: Workspace) -> Iterator[httpx.Client]:
    """Asks JupyterLab, from the engine's host."""
    with http_client(workspace.lab, workspace.authorities) as http:
        yield http


PAGES = {
    "no token": {},
    "a wrong token": {"Authorization": "token wrong"},
    "MLflow's login": {"Authorization": "Basic b2xnYTp4"},
}


@pytest.mark.parametrize("headers", PAGES.values(), ids=PAGES)
def test_without_its_token_jupyterlab_answers_nobody(
    workspace: Workspace, lab: httpx.Client, headers: dict[str, str]
) -> None:
    answered = workspace.engine.inside(lambda: lab.get("api/contents", headers=headers))
    assert answered.status_code == 403


FOREIGN = {
    "MLflow's origin": {"Origin": "https://127.0.0.1:{port}"},
    "another site": {"Origin": "https://evil.example"},
    "no origin at all": {"Origin": "null"},
    "plain HTTP": {"Origin": "http://127.0.0.1:{jupyter_port}"},
    "a script of this site": {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
    "a frame of this site": {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "websocket"},
}


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
def test_with_the_token_a_foreign_page_comes_to_nothing(
    workspace: Workspace, lab: httpx.Client, headers: dict[str, str]
) -> None:
    ports = {"port": workspace.port, "jupyter_port": workspace.jupyter_port}
    told = {name: value.format(**ports) for name, value in headers.items()}
    told["Authorization"] = f"token {workspace.token()}"
    assert workspace.engine.inside(lambda: lab.get("api", headers=told)).status_code == 403
    own = {**told, "Origin": workspace.lab} if "Origin" in told else {"Sec-Fetch-Site": "none"}
    assert workspace.engine.inside(lambda: lab.get("api", headers=own)).status_code == 200


def shaken(workspace: Workspace, origin: str) -> str:
    """How a websocket to a new terminal is answered, with the token: its first line."""
    request = (
        f"GET /terminals/websocket/1 HTTP/1.1\r\nHost: 127.0.0.1:{workspace.jupyter_port}\r\n"
        f"Authorization: token {workspace.token()}\r\nOrigin: {origin}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dHJhY2tzdGFja3RyYWNrcw==\r\n\r\n"
    )
    context = ssl.create_default_context(cafile=workspace.authorities)
    place = ("127.0.0.1", workspace.jupyter_port)
    with (
        socket.create_connection(place, timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as encrypted,
    ):
        encrypted.sendall(request.encode())
        return encrypted.recv(4096).decode(errors="replace").splitlines()[0]


def test_a_terminal_opens_for_its_own_page_only(workspace: Workspace, lab: httpx.Client) -> None:
    token = {"Authorization": f"token {workspace.token()}"}
    made = workspace.engine.inside(lambda: lab.post("api/terminals", headers=token))
    assert made.status_code == 200, made.text
    for origin, answer in ((workspace.url, "403"), (workspace.lab, "101")):
        first = workspace.engine.inside(lambda origin=origin: shaken(workspace, origin))
        assert f" {answer} " in f"{first} ", f"{origin}: {first}"


def test_another_name_or_plain_http_is_sent_away(workspace: Workspace, lab: httpx.Client) -> None:
    other = workspace.engine.inside(lambda: lab.get("lab", headers={"Host": "evil.example"}))
    plain = workspace.engine.inside(
        lambda: httpx.get(f"http://127.0.0.1:{workspace.jupyter_port}/lab", trust_env=False)
    )
    assert (other.status_code, plain.status_code) == (421, 308)


def ssh(workspace: Workspace, *options: str, key: str = "/run/secrets/sftp-key") -> str:
    """What comes of a connection to the SFTP server from where MLflow is."""
    program = f"""
import paramiko, sys
client = paramiko.SSHClient()
client.load_host_keys(sys.argv[1])
client.connect("sftp", 2222, "trackstack", key_filename={key!r}, allow_agent=False,
               look_for_keys=False, timeout=10)
{options[1]}
"""
    python = "$(echo /var/lib/trackstack/packages/*/bin/python)"
    command = f'exec {python} -c "$1" {options[0]}'
    done = workspace.inside("tracking", "sh", "-c", command, "sh", program)
    return done.stdout + done.stderr


KNOWN = "/run/secrets/known-hosts"


def test_the_sftp_server_moves_files_and_does_nothing_else(workspace: Workspace) -> None:
    files = ssh(workspace, KNOWN, "print(client.open_sftp().getcwd() or 'files')")
    shell = ssh(workspace, KNOWN, "print(client.exec_command('id', timeout=5)[1].read())")
    tunnel = ssh(
        workspace,
        KNOWN,
        "client.get_transport().open_channel('direct-tcpip', ('127.0.0.1', 2222), ('', 0))",
    )
    assert files.strip() == "files"
    assert "uid=" not in shell
    assert "prohibited" in tunnel.lower() or "ChannelException" in tunnel, tunnel


def test_without_the_key_or_with_another_host_key_there_is_no_connection(
    workspace: Workspace,
) -> None:
    other = "/tmp/other-key"
    make = """
from cryptography.hazmat.primitives import serialization as s
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
key = Ed25519PrivateKey.generate()
private = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.OpenSSH, s.NoEncryption())
public = key.public_key().public_bytes(s.Encoding.OpenSSH, s.PublicFormat.OpenSSH)
open("/tmp/other-key", "wb").write(private)
open("/tmp/other-hosts", "wb").write(b"[sftp]:2222 " + public)
"""
    python = "$(echo /var/lib/trackstack/packages/*/bin/python)"
    made = workspace.inside("tracking", "sh", "-c", f'exec {python} -c "$1"', "sh", make)
    assert made.returncode == 0, made.stderr
    assert "AuthenticationException" in ssh(workspace, KNOWN, "print('in')", key=other)
    refused = ssh(workspace, "/tmp/other-hosts", "print('in')")
    assert "BadHostKeyException" in refused or "not found in known_hosts" in refused, refused


def test_what_lies_on_this_computer_is_for_its_owner_only(workspace: Workspace) -> None:
    folder = workspace.folder("compose")
    assert folder.stat().st_mode & 0o077 == 0
    for file in (workspace.project / "secrets").rglob("*"):
        assert file.stat().st_mode & 0o077 == 0, file
    keeps = [Path("record.json"), Path("credentials.json")]
    assert [name for name in keeps if (folder / name).stat().st_mode & 0o077] == []
