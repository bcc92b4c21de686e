"""Docker as the kit needs it: its own commands, and what is wrong when they fail."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from trackstack.errors import MissingError, TrackstackError

_TAIL = 12
_INTERRUPTED = (128 + signal.SIGINT, -signal.SIGINT)
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
        TrackstackError: it failed, with the last lines of what it said; or there is no folder.
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


def disk_usage(project: str, service: str, volume: str, user: str) -> int | None:
    """How many bytes a volume of a project holds; None without it, or without the image to ask in.

    Nothing of the project is started or made.

    Args:
        project: whose.
        service: in whose image `du` is.
        volume: as the project's settings call it.
        user: the numbers of the user and the group that may read it, as in '1000:1000'.

    Raises:
        MissingError: there is no Docker that answers.
        TrackstackError: it could not be read; with the last line of what Docker said.
    """
    image, name = f"{project}-{service}", f"{project}_{volume}"
    # `run` would make a volume that is not there.
    if name not in volumes(project) or _run("docker", "image", "inspect", image).returncode != 0:
        return None
    closed = ("--network", "none", "--read-only", "--cap-drop", "ALL", "--user", user)
    # The image has the project's label, and this container is none of its services.
    apart = ("--label", "com.docker.compose.project=", "--pull", "never")
    mount = ("--volume", f"{name}:/stored:ro", "--entrypoint", "du")
    du = ("--summarize", "--bytes", "/stored")
    done = _run("docker", "run", "--rm", *closed, *apart, *mount, image, *du)
    if done.returncode != 0:
        raise _failure(f"docker run {image}", done.stderr)
    return int(done.stdout.split()[0])


def lines(folder: Path, *arguments: str, held: bool = False) -> Iterator[str]:
    """What a program prints that `docker compose` runs, line by line, while somebody reads.

    Args:
        folder: of the project.
        arguments: of `docker compose`.
        held: whether its input is open for as long, so that it can tell when nobody reads any more:
            Docker passes on no signal to it.

    Raises:
        MissingError: there is no Docker that answers.
        TrackstackError: it failed, with the last line of what it said; or there is no folder.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as told:
        try:
            yield from _lines(folder, arguments, told, held)
        except subprocess.CalledProcessError as error:
            told.seek(0)
            raise _failure(f"docker compose {arguments[0]}", told.read()) from error


def log(folder: Path, service: str, follow: bool) -> Iterator[str]:
    """What a service's container has written, line by line; with `follow`, while it runs.

    Raises:
        MissingError: there is no Docker that answers.
        TrackstackError: Docker failed, with the last line of what it said; or there is no folder.
    """
    how = ("--follow",) if follow else ()
    arguments = ("logs", "--no-log-prefix", "--no-color", *how, service)
    # A container writes on both of Docker's streams, and only as one do they keep their order.
    # What Docker itself says of a failure is then the last line: it is held back until it is known
    # to be the container's, but for somebody who waits for it.
    last: str | None = None
    try:
        for line in _lines(folder, arguments, subprocess.STDOUT):
            if follow:
                yield line
            elif last is not None:
                yield last
            last = line
    except subprocess.CalledProcessError as error:
        raise _failure("docker compose logs", last or "") from error
    if last is not None and not follow:
        yield last


def _lines(
    folder: Path, arguments: tuple[str, ...], errors: int | IO[str], held: bool = False
) -> Iterator[str]:
    """What `docker compose` prints; raises CalledProcessError unless it ended well."""
    command = ["docker", "compose", "--ansi", "never", *arguments]
    _must_be_there(folder)
    with subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.PIPE if held else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        errors="replace",
    ) as running:
        assert running.stdout is not None  # noqa: S101  a pipe was asked for
        try:
            for line in running.stdout:
                yield line.rstrip("\n")
            code = running.wait()
        finally:
            running.terminate()
    # Ctrl-C reaches Docker too, and may do so sooner.
    if code not in (0, *_INTERRUPTED):
        raise subprocess.CalledProcessError(code, command)


def containers(project: str, *filters: str) -> list[str]:
    """The services of a project that have a container, running or not, as `docker ps` filters them.

    Raises:
        MissingError: there is no Docker that answers.
    """
    arguments = [part for each in filters for part in ("--filter", each)]
    label = f"label=com.docker.compose.project={project}"
    told = '{{.Label "com.docker.compose.service"}}'
    done = _run("docker", "ps", "--all", "--filter", label, *arguments, "--format", told)
    if done.returncode != 0:
        missing = problem()
        if missing is not None:
            raise missing
    return done.stdout.split()


def _run(*command: str, folder: Path | None = None) -> "subprocess.CompletedProcess[str]":
    if folder is not None:
        _must_be_there(folder)
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


def _must_be_there(folder: Path) -> None:
    """Without it a program cannot be started either, and that is no missing Docker."""
    if not folder.is_dir():
        raise TrackstackError(
            f"The workspace is not made yet: there is no folder {folder}.",
            "Run the command that deploys it again: it goes on where it was ended.",
        )


def _failure(command: str, said: str) -> TrackstackError:
    return problem() or TrackstackError(f"`{command}` failed: {_last_line(said)}.")


def _last_line(text: str) -> str:
    said = text.strip().splitlines() or ["no word of why"]
    return said[-1].partition(". Is the docker daemon running?")[0].rstrip(".")
