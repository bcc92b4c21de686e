"""What a server needs of the computer it runs on, and how this platform comes by it.

Each `…_problem` looks at one thing and returns the error to raise, or to tell, or None.
"""

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

from trackstack.errors import MissingError

NEEDED_BYTES = 3 * 1024**3
FULL_BYTES = 100 * 1000**2
"""Less free than this is as good as full: one artifact takes it."""
OLDEST_NGINX = "1.19.5"
"""The first with `-e`, which keeps a start from writing to the system's own log."""

MODULES = {
    "none": ("http_auth_request_module", "http_sub_module"),
    "own": ("http_auth_request_module", "http_sub_module", "http_ssl_module"),
    "files": ("http_auth_request_module", "http_sub_module", "http_ssl_module"),
    "upstream": ("http_auth_request_module", "http_sub_module", "http_realip_module"),
}
"""What the server's nginx settings use beyond what nginx has by default, by the plan's TLS."""

_DEFAULT_MODULES = (
    "pcre",
    "http_auth_basic_module",
    "http_geo_module",
    "http_gzip_module",
    "http_limit_req_module",
    "http_map_module",
    "http_proxy_module",
    "http_rewrite_module",
    "http_upstream_keepalive_module",
)
_INSTALL = {
    "brew": "brew install {}",
    "apt-get": "sudo apt-get install {}",
    "dnf": "sudo dnf install {}",
    "yum": "sudo yum install {}",
    "zypper": "sudo zypper install {}",
    "pacman": "sudo pacman -S {}",
    "apk": "sudo apk add {}",
}


def package_manager() -> str | None:
    """This platform's package manager, or None for one that is not known."""
    return next((name for name in _INSTALL if shutil.which(name)), None)


def how_to_install(package: str, manager: str | None) -> str:
    """What to type to install a package."""
    if manager is None:
        return f"Install {package} with this system's package manager."
    way = f"Install it with `{_INSTALL[manager].format(package)}`"
    if (package, manager) == ("nginx", "apt-get"):
        # Debian's package starts a server of its own on port 80.
        return f"{way}, and stop its own service: `sudo systemctl disable --now nginx`."
    return f"{way}."


def nginx_settings(program: str) -> str:
    """What nginx says of its version and of how it was built."""
    return subprocess.run(
        [program, "-V"], capture_output=True, text=True, errors="replace", check=False
    ).stderr


def nginx_version(settings: str) -> str | None:
    """The version in what nginx says of itself, also when it is OpenResty."""
    found = re.search(r"(?:nginx|openresty)/([0-9]+\.[0-9]+\.[0-9]+)", settings)
    return found[1] if found else None


def nginx_problem(
    program: str | None, settings: str, modules: Iterable[str], manager: str | None
) -> MissingError | None:
    """What this computer's nginx lacks.

    Args:
        program: its path, or None when there is none.
        settings: what nginx_settings told of it.
        modules: names as in configure's `--with-…`.
        manager: this platform's package manager.
    """
    if program is None:
        return MissingError("nginx is missing on this computer.", how_to_install("nginx", manager))
    version = nginx_version(settings)
    if version is not None and _numbers(version) < _numbers(OLDEST_NGINX):
        newer = (
            "`brew upgrade nginx` brings a newer one."
            if manager == "brew"
            else "nginx.org/en/linux_packages.html has newer ones for most systems."
        )
        return MissingError(
            f"nginx {version} is too old; the server needs {OLDEST_NGINX} or newer.", newer
        )
    options = set(settings.split())
    lacking = [name for name in modules if f"--with-{name}" not in options]
    lacking += [name for name in _DEFAULT_MODULES if f"--without-{name}" in options]
    if lacking:
        return MissingError(
            f"nginx {version or program} was built without {', '.join(lacking)}.",
            f"Take this system's own nginx in its place. {how_to_install('nginx', manager)}",
        )
    return None


def folder_problem(folder: Path, kernel: str, mounts: dict[str, str]) -> MissingError | None:
    """Why a server cannot live in a folder.

    Args:
        folder: absolute.
        kernel: what /proc/version says; empty where there is none.
        mounts: the type of each mounted file system by its place.
    """
    way = "Set TRACKSTACK_HOME to another folder, such as `export TRACKSTACK_HOME=~/.trackstack`."
    if "%" in str(folder):
        return MissingError(
            f"The path {folder} has a percent sign in it, which MLflow's database migration "
            "takes for a placeholder.",
            way,
        )
    if "microsoft" in kernel.lower() and _mount_type(folder, mounts) in ("9p", "drvfs", "v9fs"):
        return MissingError(
            f"{folder} is on a Windows drive, where sockets, locks and file permissions "
            "do not work as in Linux.",
            way,
        )
    return None


def writing_problem(folder: Path) -> MissingError | None:
    """Why this account can keep nothing in a folder, which need not be there yet."""
    there = existing(folder)
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return None
    return MissingError(
        f"Nothing can be kept in {folder}: "
        + (f"this account may not write to {there}." if there.is_dir() else f"{there} is a file."),
        "Set TRACKSTACK_HOME to a folder of this account's own.",
    )


def room_problem(folder: Path, free: int) -> MissingError | None:
    """Too little room for the packages of a first deploy.

    Args:
        folder: which disk.
        free: bytes.
    """
    if free >= NEEDED_BYTES:
        return None
    return MissingError(
        f"The disk of {folder} has {free / 1e9:.1f} GB left; "
        f"the server's packages and room to work need {NEEDED_BYTES / 1e9:.1f} GB.",
        "Free some, or set TRACKSTACK_HOME to a folder on a larger disk.",
    )


def full_problem(folder: Path, free: int) -> MissingError | None:
    """Hardly any room left for what a server stores.

    Args:
        folder: which disk.
        free: bytes.
    """
    if free >= FULL_BYTES:
        return None
    return MissingError(
        f"The disk of {folder} is full: {free / 1e6:.0f} MB left. What is logged next may be "
        "refused; what was logged is safe.",
        "Make room on it: the server then goes on by itself.",
    )


def kernel() -> str:
    """What the kernel says of itself, where it does."""
    try:
        return Path("/proc/version").read_text()
    except OSError:
        return ""


def mounts() -> dict[str, str]:
    """The type of each mounted file system by its place."""
    return {part.mountpoint: part.fstype for part in psutil.disk_partitions(all=True)}


def existing(path: Path) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def port_is_free(address: str, port: int) -> bool:
    """Whether nginx could listen there."""
    with socket.socket() as probe:
        # As nginx does: a closed connection that lingers does not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True


def free_port_near(address: str, port: int) -> int:
    """The next port that is free."""
    return next(near for near in range(port + 1, 65536) if port_is_free(address, near))


def by_whom(port: int) -> str:
    """Who listens on a port, to end a sentence with; empty when this account may not know."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr
            if listens and listens.port == port:
                if connection.pid is None:
                    return ""
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        return ""
    return ""


def named(processes: Iterable[psutil.Process]) -> Iterator[tuple[int, str]]:
    """Number and name of each process that is still there."""
    for process in processes:
        try:
            yield process.pid, process.name()
        except psutil.NoSuchProcess:
            continue


def _mount_type(folder: Path, mounts: dict[str, str]) -> str:
    above = [place for place in mounts if folder.is_relative_to(place)]
    return mounts[max(above, key=len)] if above else ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
