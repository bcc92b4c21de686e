"""A served model behind nginx and the login, beside plain `mlflow models serve` of the same."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path

import psutil
import uv

from bench.client import Client, Login, Place
from bench.figures import Sample
from bench.load import at_once, median_time
from kits import Kit, eventually, free_port, running_kit

NAME = "bench"
CLIENTS, SECONDS, UP_SECONDS = 8, 4.0, 120.0
_USER = "bench"
_QUESTION = {"dataframe_split": {"columns": ["a", "b"], "data": [[5.0, 1.0]]}}
_LOGS = Path(__file__).parents[1] / "tests" / "e2e" / "modelling.py"


def models(folder: Path, rounds: int) -> Iterator[Sample]:
    """One client's and eight clients' requests a second, and the memory of one model."""
    with running_kit(folder / "served") as kit:
        kit.deploy("--user", _USER)
        variables = json.loads(kit.run("env", "--json").stdout)
        _log_a_model(kit, variables)
        consent = ("--allow-model-code", "--yes")
        kit.run("models", "serve", f"models:/{NAME}@champion", "--as", NAME, *consent)
        login = Login(_USER, variables["MLFLOW_TRACKING_PASSWORD"])
        ours = partial(Client, Place("127.0.0.1", kit.port), login)
        with _plain(kit, folder) as port:
            theirs = partial(Client, Place("127.0.0.1", port), Login())
            for _ in range(rounds):
                ask_us, ask_them = f"/serve/{NAME}/invocations", "/invocations"
                yield Sample("served-1", 1 / _p50(ours(), ask_us), 1 / _p50(theirs(), ask_them))
                many = at_once(ours, CLIENTS, SECONDS, partial(_asks, ask_us))
                yield Sample(
                    "served-8", many, at_once(theirs, CLIENTS, SECONDS, partial(_asks, ask_them))
                )
            told = json.loads(kit.run("models", "list", "--json").stdout)["models"][NAME]
            yield Sample("served-memory", told["memory_bytes"] / 1e6, _megabytes(port))


def _asks(path: str, client: Client, _: int) -> None:
    status = client.status("POST", path, _QUESTION)
    if status != HTTPStatus.OK:
        raise ValueError(f"{path} was answered with {status}")


def _p50(client: Client, path: str) -> float:
    with client:
        return median_time(partial(_asks, path, client), SECONDS)


def _log_a_model(kit: Kit, variables: dict[str, str]) -> None:
    (packages,) = (kit.machine() / "packages").iterdir()
    wanted = json.dumps([["linear", NAME, "2", "champion"]])
    command = [packages / "bin" / "python", _LOGS, wanted]
    subprocess.run(
        command, env={**kit.environment, **variables}, stdout=subprocess.DEVNULL, check=True
    )


@contextmanager
def _plain(kit: Kit, folder: Path) -> Iterator[int]:
    """`mlflow models serve` of the same files with the packages they ask for, on a port."""
    (files,) = (kit.machine() / "models" / "files").iterdir()
    environment = folder / "plain"
    python, wanted = environment / "bin" / "python", files / "requirements.txt"
    tool = uv.find_uv_bin()
    for words in (
        ("venv", "--no-project", "--python", sys.executable, environment),
        ("pip", "install", "--python", python, "-r", wanted),
    ):
        subprocess.run([tool, *map(str, words), "--quiet"], env=kit.environment, check=True)
    port = free_port()
    command = [environment / "bin" / "python", "-m", "mlflow", "models", "serve"]
    command += ["--model-uri", files, "--env-manager", "local", "--port", str(port)]
    path = f"{environment / 'bin'}:{kit.environment['PATH']}"
    with (folder / "plain.log").open("wb") as log:
        server = subprocess.Popen(
            [str(word) for word in command],
            env={**kit.environment, "PATH": path},
            stdout=log,
            stderr=log,
        )
    try:
        if not eventually(lambda: _answers(port), UP_SECONDS):
            raise RuntimeError((folder / "plain.log").read_text())
        yield port
    finally:
        _end(psutil.Process(server.pid))
        server.wait()


def _answers(port: int) -> bool:
    try:
        with Client(Place("127.0.0.1", port), Login()) as client:
            return client.status("GET", "/ping") == HTTPStatus.OK
    except OSError:
        return False


def _end(process: psutil.Process) -> None:
    for each in (*process.children(recursive=True), process):
        each.kill()


def _megabytes(port: int) -> float:
    """What the process that listens on a port has in memory."""
    (listener,) = {
        each.pid
        for each in psutil.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN and each.laddr.port == port
    }
    return psutil.Process(listener).memory_info().rss / 1e6
