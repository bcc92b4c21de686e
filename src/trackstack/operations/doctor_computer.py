"""Looks at this computer: what a server needs of it, and how this platform comes by it."""

import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Set
from pathlib import Path

import psutil
import uv

from trackstack import environment as environments
from trackstack import lock, spec
from trackstack.operations.findings import Finding, bad, ok, unless, warning
from trackstack.targets import computer, docker, local

_WORKER_BYTES = 480e6
"""What one MLflow worker needs, measured with 3.17.2."""
_LEAST_FREE_BYTES = 1e9


def this_computer(targets: Set[str]) -> Iterator[Finding]:
    """Everything that is needed here; for a first deploy also room and a port.

    Args:
        targets: of the environments there are.
    """
    first_deploy = not targets
    if first_deploy or "local" in targets:
        yield _nginx()
    if "compose" in targets:
        found = "Docker answers, and has the plugins compose and buildx."
        yield unless(docker.problem(), "docker", found)
    yield python_finding(platform.python_version())
    yield _uv()
    memory = psutil.virtual_memory()
    yield memory_finding(memory.total, memory.available)
    home = environments.home()
    yield disk_finding(home, shutil.disk_usage(computer.existing(home)).free, first_deploy)
    problem = computer.writing_problem(home) or computer.folder_problem(
        home, computer.kernel(), computer.mounts()
    )
    yield unless(problem, "home", f"The home folder {home} suits a server.")
    if first_deploy:
        port = spec.defaults("local", "local", "ada", lock.DEFAULT_MLFLOW)["server"]["port"]
        yield _port(port)


def _nginx() -> Finding:
    program = shutil.which("nginx", path=local.program_folders())
    settings = computer.nginx_settings(program) if program else ""
    every = {module for modules in computer.MODULES.values() for module in modules}
    problem = computer.nginx_problem(program, settings, sorted(every), computer.package_manager())
    version = computer.nginx_version(settings) or program
    return unless(problem, "nginx", f"nginx {version} has what the server needs.")


def python_finding(version: str) -> Finding:
    """Whether a version of Python runs the server."""
    least = lock.OLDEST_PYTHON
    if tuple(map(int, version.split(".")[:2])) < tuple(map(int, least.split("."))):
        return bad(
            "python",
            f"Python {version} is too old; the server needs {least} or newer.",
            f"Install trackstack with a newer one: `uv tool install --python {least} trackstack`.",
        )
    return ok("python", f"Python {version} at {sys.executable}.")


def _uv() -> Finding:
    try:
        told = subprocess.run(
            [uv.find_uv_bin(), "--version"], capture_output=True, text=True, check=True
        ).stdout.split()
    except (OSError, subprocess.CalledProcessError) as error:
        return bad(
            "uv",
            f"uv, which installs the server's packages, does not run: {error}.",
            "Install trackstack anew; uv comes with it.",
        )
    return ok("uv", f"uv {told[1]} installs the server's packages.")


def memory_finding(total: int, available: int) -> Finding:
    """Whether there is memory for a server with one worker."""
    has = f"{total / 1e9:.1f} GB of memory, {available / 1e9:.1f} GB of it free"
    least = f"{_WORKER_BYTES / 1e9:.1f} GB"
    if total < 2 * _WORKER_BYTES:
        return bad(
            "memory",
            f"This computer has {has}; MLflow alone takes {least}.",
            "Deploy on a larger one.",
        )
    if available < _WORKER_BYTES:
        return warning(
            "memory",
            f"This computer has {has}; an MLflow more takes {least}.",
            "End what is not needed before a deploy, or ask for fewer `--workers`.",
        )
    return ok("memory", f"This computer has {has}.")


def disk_finding(home: Path, free: int, first_deploy: bool) -> Finding:
    """Whether there is room: for the packages of a first deploy, or to go on."""
    problem = computer.room_problem(home, free) if first_deploy else None
    problem = problem or computer.full_problem(home, free)
    if problem is None and free < _LEAST_FREE_BYTES:
        return bad(
            "disk",
            f"The disk of {home} has only {free / 1e6:.0f} MB left; what is logged "
            "next may not be kept.",
            "Free some: `trackstack status` says what the server stores.",
        )
    return unless(problem, "disk", f"The disk of {home} has {free / 1e9:.1f} GB left.")


def _port(port: int) -> Finding:
    if computer.port_is_free(spec.LOOPBACK, port):
        return ok("port", f"Port {port} is free.")
    other = computer.free_port_near(spec.LOOPBACK, port)
    return warning(
        "port",
        f"Port {port} is taken{computer.by_whom(port)}.",
        f"Choose another one: `trackstack deploy local --port {other}`.",
    )
