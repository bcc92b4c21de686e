"""The script that starts MLflow, with the stand-in in MLflow's place."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from boxes import make_wheel

from kits import eventually
from trackstack.templating import render

AS_ON = """
import runpy, sys
sys.platform, *sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
PLATFORMS = pytest.mark.parametrize("platform", ["linux", "darwin"])


def start(folder: Path, platform: str, **variables: str) -> "subprocess.Popen[str]":
    make_wheel(folder)
    (wheel,) = folder.glob("*.whl")
    script = folder / "mlflow.py"
    values = {"database": "postgresql://elsewhere", "own_artifacts": None}
    script.write_text(render("supervisor/mlflow.py.j2", values))
    return subprocess.Popen(
        [
            *(sys.executable, "-P", "-c", AS_ON, platform, script),
            *("server", "--workers", "1", "--uvicorn-opts", "--uds s"),
        ],
        cwd=folder,
        env={"PYTHONPATH": str(wheel), "MLFLOW_SERVER_ALLOWED_HOSTS": "localhost", **variables},
        stderr=subprocess.PIPE,
        text=True,
    )


def answer(socket: Path) -> str:
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket))) as client:
            return client.get("http://localhost/").text
    except httpx.TransportError:
        return ""


@PLATFORMS
def test_the_process_that_is_started_is_the_server_itself(tmp_path: Path, platform: str) -> None:
    with start(tmp_path, platform) as server:
        try:
            assert eventually(lambda: answer(tmp_path / "s") == "workers 1\n")
        finally:
            server.terminate()
        assert server.wait(60) == 0
    assert not (tmp_path / "s").exists(), "another process was the server"


@PLATFORMS
def test_what_keeps_mlflow_from_its_start_is_told_and_the_end(
    tmp_path: Path, platform: str
) -> None:
    with start(tmp_path, platform, STANDIN_BROKEN="1") as server:
        _, told = server.communicate(timeout=30)
    assert (server.returncode, told) == (1, "the stand-in was told not to start\n")
