"""What cannot work is refused with a sentence and the way out, before anything is changed."""

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from compose.engine import Engine
from compose.workspace import Workspace, a_workspace


@pytest.fixture(scope="module")
def nothing(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A computer on which nothing is deployed."""
    with a_workspace(engine, tmp_path_factory.mktemp("nothing")) as made:
        yield made


def refused(workspace: Workspace, *flags: str | Path, **variables: str) -> tuple[int, str]:
    """How a first deploy ends that must not begin."""
    done = workspace.run(*workspace.deploying, *flags, ok=False, **variables)
    assert not workspace.folder("compose").exists(), f"something was begun: {done.stderr}"
    assert workspace.left() == {}
    return done.returncode, done.stderr.partition("error: ")[2]


def programs_but(folder: Path, *missing: str) -> str:
    """A PATH on which all is but some programs."""
    folder.mkdir()
    for place in os.environ["PATH"].split(":"):
        for program in Path(place).glob("*") if place else ():
            link = folder / program.name
            if program.name not in missing and not link.is_symlink():
                link.symlink_to(program)
    return str(folder)


def test_without_docker_it_says_how_to_come_by_it(nothing: Workspace, tmp_path: Path) -> None:
    code, told = refused(nothing, PATH=programs_but(tmp_path / "bin", "docker"))
    assert (code, told.splitlines()[0]) == (4, "Docker is missing on this computer.")
    assert "https://docs.docker.com/" in told


def test_a_docker_that_is_too_old_is_refused(nothing: Workspace, tmp_path: Path) -> None:
    old = tmp_path / "docker"
    real = shutil.which("docker", path=nothing.engine.variables["PATH"])
    old.write_text(
        f"""#!/bin/sh
[ "$1 $2" != "version --format" ] || exec echo 24.0.9
exec {real} "$@"
"""
    )
    old.chmod(0o755)
    code, told = refused(nothing, PATH=f"{tmp_path}:{nothing.engine.variables['PATH']}")
    assert code == 4
    assert told.startswith("Docker's engine is 24.0.9 on this computer, and 25.0 is the oldest")


def test_an_engine_that_is_away_is_told(nothing: Workspace, tmp_path: Path) -> None:
    code, told = refused(nothing, DOCKER_HOST=f"unix://{tmp_path}/nothing.sock")
    assert code == 4
    assert told.startswith("Docker's engine does not answer: ")
    assert "Start Docker" in told


def test_another_computers_engine_is_refused(nothing: Workspace) -> None:
    code, told = refused(nothing, DOCKER_HOST="tcp://10.78.0.9:2375")
    assert code == 4
    assert "another computer" in told


@pytest.mark.parametrize("plugin", ["compose", "buildx"])
def test_a_plugin_that_is_missing_is_named(nothing: Workspace, tmp_path: Path, plugin: str) -> None:
    shutil.copytree(nothing.engine.variables["DOCKER_CONFIG"], tmp_path / "config")
    (tmp_path / "config" / "cli-plugins" / f"docker-{plugin}").unlink()
    code, told = refused(nothing, DOCKER_CONFIG=str(tmp_path / "config"))
    assert (code, told.splitlines()[0]) == (
        4,
        f"Docker's plugin {plugin} is missing on this computer.",
    )


@pytest.mark.parametrize("flag", ["--port", "--jupyter-port"])
def test_a_port_that_is_taken_is_told_with_one_that_is_free(nothing: Workspace, flag: str) -> None:
    port = nothing.port if flag == "--port" else nothing.jupyter_port

    def taken() -> tuple[int, str]:
        with socket.create_server(("127.0.0.1", port)):
            return refused(nothing)

    code, told = nothing.engine.inside(taken)
    assert (code, f"Port {port} of this computer is taken" in told) == (1, True), told
    assert f"`{flag} " in told


ASKED = {
    "one port for both": (("--jupyter-port", "{port}"), "cannot both have the port {port}"),
    "no such folder": (("--artifacts", "/nowhere"), "There is no folder /nowhere on this computer"),
    "no image's name": (("--base-image", "Not An Image"), "is not the name of an image"),
    "everywhere without a name": (("--listen", "0.0.0.0"), "say in hostnames by which names"),
    "neither bucket nor folder": (("--artifacts", "folder"), "is neither a bucket nor a folder"),
    "a bucket without credentials": (("--artifacts", "s3://team"), "no credentials for the bucket"),
}


@pytest.mark.parametrize(("flags", "sentence"), ASKED.values(), ids=ASKED)
def test_what_makes_no_sense_is_refused(
    nothing: Workspace, flags: tuple[str, ...], sentence: str
) -> None:
    asked = [flag.format(port=nothing.port) for flag in flags]
    done = nothing.run(*nothing.deploying, *asked, ok=False)
    assert done.returncode == 2, done.stderr
    assert sentence.format(port=nothing.port) in " ".join(done.stderr.split())
    assert not nothing.folder("compose").exists()


def test_a_folder_that_the_server_could_not_write_to_is_refused(
    nothing: Workspace, tmp_path: Path
) -> None:
    code, told = refused(nothing, "--artifacts", tmp_path)
    assert (code, "could not write to" in told) == (2, True), told
    assert "`chown 10078 " in told


def test_an_image_that_is_not_there_ends_with_what_docker_says(nothing: Workspace) -> None:
    done = nothing.run(*nothing.deploying, "--base-image", "nowhere.example/debian:13", ok=False)
    assert done.returncode == 1
    assert "`docker compose build` failed." in done.stderr
    assert "nowhere.example/debian:13" in done.stderr
    nothing.run("destroy", "--purge", "--confirm", "compose")
    assert not nothing.folder("compose").exists()


def test_artifacts_may_be_in_a_folder_of_this_computer(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "artifacts"
    folder.mkdir()
    os.chown(folder, 10078, 10078)
    with a_workspace(engine, tmp_path / "in-folder") as made:
        made.up("--artifacts", folder)
        ran = made.json("notebook")
        logged = {file.name for file in folder.rglob("*") if ran["run"] in str(file)}
        assert {"weights.json", "mlflow-example.ipynb"} <= logged
        assert set(made.containers()) == {"tracking", "models", "postgres", "jupyter"}
        made.run("destroy", "--purge", "--confirm", "compose")
        assert any(folder.iterdir()), "a purge took what the kit did not make"


def test_an_environment_of_another_kind_has_no_notebook(engine: Engine, tmp_path: Path) -> None:
    with a_workspace(engine, tmp_path / "other") as made:
        done = made.run("notebook", ok=False)
        assert (done.returncode, "There is no environment yet" in done.stderr) == (2, True)
