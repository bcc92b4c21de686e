"""Docker as the kit needs it: its own commands, and what is wrong when they fail."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from trackstack.errors import MissingError, TrackstackError

_TAIL = 12
_HOW = "https://docs.docker.com/engine/install tells how to install it for each system."
_OLDEST = {"engine": (25, 0), "plugin compose": (2, 24)}
"""Of January 2024: the first that ask for health more often while a container starts."""


def problem() -> MissingError | None:
    """What is wrong with this computer's Docker, or None."""
    if shutil.which("docker") is None:
        return MissingError("Docker is missing on this computer.", _HOW)
    host = os.environ.get("DOCKER_HOST", "")
    if host and not host.startswith("unix:"):
        return MissingError(
            f"DOCKER_HOST names the engine of another computer ({host}), which does not see this "
            "computer's folders.",
            "Unset it, or run the command over there.",
        )
    engine = _run("docker", "version", "--format", "{{.Server.Version}}")
    if engine.returncode != 0:
        told = _last_line(engine.stderr)
        way = (
            "Let root add this account to the group docker, then log in again."
            if "permission denied" in told.lower()
            else "Start Docker, then run the same command again."
        )
        return MissingError(f"Docker's engine does not answer: {told}.", way)
    for plugin in ("compose", "buildx"):
        if _run("docker", plugin, "version").returncode != 0:
            return MissingError(
                f"Docker's plugin {plugin} is missing on this computer.",
                f"It comes with Docker Desktop, and as the package docker-{plugin}-plugin "
                f"(Debian: docker-{plugin}). {_HOW}",
            )
    version = _run("docker", "compose", "version", "--short").stdout
    return _too_old("engine", engine.stdout) or _too_old("plugin compose", version)


def _too_old(part: str, version: str) -> MissingError | None:
    found = re.match(r"v?(\d+)\.(\d+)", version)
    oldest = _OLDEST[part]
    if found is None or (int(found[1]), int(found[2])) >= oldest:
        return None
    return MissingError(
        f"Docker's {part} is {version.strip()} on this computer, and "
        f"{'.'.join(map(str, oldest))} is the oldest that will do.",
        f"Bring Docker up to date. {_HOW}",
    )


def compose(folder: Path, *arguments: str) -> str:
    """Run `docker compose` in a project's folder, and return what it printed.

    Raises:
        MissingError: there is no Docker that answers.
        TrackstackError: it failed; with the last lines of what it said.
    """
    done = _run(
        "docker", "compose", "--progress", "plain", "--ansi", "never", *arguments, folder=folder
    )
    if done.returncode != 0:
        missing = problem()
        if missing is not None:
            raise missing
        lines = [line for line in done.stderr.splitlines() if line.strip()][-_TAIL:]
        told = "".join(f"\n    {line}" for line in lines)
        raise TrackstackError(
            f"`docker compose {arguments[0]}` failed.{told}",
            f"In {folder} you can run it yourself.",
        )
    return done.stdout


def has_images(folder: Path) -> bool:
    """Whether every image of a project is there: who cleans Docker up removes those not in use."""
    names = compose(folder, "config", "--images").split()
    return _run("docker", "image", "inspect", *names).returncode == 0


def volumes(project: str) -> list[str]:
    """The names of a project's volumes."""
    label = f"label=com.docker.compose.project={project}"
    return _run("docker", "volume", "ls", "--quiet", "--filter", label).stdout.split()


def drop_old_images(project: str) -> None:
    """Remove the images of a project that newer ones have taken the names of."""
    label = f"label=com.docker.compose.project={project}"
    _run("docker", "image", "prune", "--force", "--filter", label)


def lines(folder: Path, *arguments: str) -> Iterator[str]:
    """What `docker compose` prints, line by line, for as long as it runs or somebody reads."""
    command = ["docker", "compose", "--ansi", "never", *arguments]
    with subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as running:
        assert running.stdout is not None  # noqa: S101  a pipe was asked for
        try:
            for line in running.stdout:
                yield line.rstrip("\n")
        finally:
            running.terminate()


def containers(project: str, *filters: str) -> list[str]:
    """The services of a project that have a container, as `docker ps` filters them.

    Raises:
        MissingError: there is no Docker that answers.
    """
    arguments = [part for each in filters for part in ("--filter", each)]
    label = f"label=com.docker.compose.project={project}"
    told = '{{.Label "com.docker.compose.service"}}'
    done = _run("docker", "ps", "--filter", label, *arguments, "--format", told)
    if done.returncode != 0:
        missing = problem()
        if missing is not None:
            raise missing
    return done.stdout.split()


def _run(*command: str, folder: Path | None = None) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, 127, "", f"there is no {command[0]}")


def _last_line(text: str) -> str:
    said = text.strip().splitlines() or ["no word of why"]
    return said[-1].partition(". Is the docker daemon running?")[0].rstrip(".")
