"""Walls by bubblewrap: a view of the disk with nothing in it of the machine.

https://github.com/containers/bubblewrap needs no root, and neither a service nor settings of its
own. Where it is missing, or the kernel does not let it work, there are no walls.
"""

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""Programs and libraries: with them no secret, and nothing that a model may change."""
_SETTINGS = (
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives"),
    *("/etc/localtime", "/etc/fonts", "/etc/ca-certificates", "/etc/ca-certificates.conf"),
    *("/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/ssl/openssl.cnf", "/etc/crypto-policies"),
    *(
        "/etc/pki/ca-trust",
        "/etc/pki/tls/certs",
        "/etc/pki/tls/cert.pem",
        "/etc/pki/tls/openssl.cnf",
    ),
)
"""Not all of /etc/ssl and /etc/pki: private keys lie there too, which root may read."""
TEMPORARY = Path("/tmp")  # noqa: S108  the walls' own

_WORKS = set[str]()
"""What was tried, and put up walls."""

WAY_OUT = "/run/way-out"
"""A short path, as a socket's has to be."""


def there() -> bool:
    """Whether walls can be put up on this computer; what has worked is not tried again."""
    program = shutil.which("bwrap")
    if program is None:
        return False
    if program not in _WORKS:
        tried = [program, *_view(), "--unshare-all", "--", "/bin/sh", "-c", ":"]
        if subprocess.run(tried, capture_output=True, check=False).returncode == 0:
            _WORKS.add(program)
    return program in _WORKS


def within(
    command: list[str],
    read: Iterable[Path],
    write: Iterable[Path] = (),
    way_out: Path | None = None,
    cwd: Path = TEMPORARY,
) -> list[str]:
    """A command as it is run within the walls.

    What the program has open stays open, and the environment is passed on: it is the caller's to
    leave out what the program must not know. It ends when the one that started it does.

    Args:
        command: what to run.
        read: whole paths of what it may read, besides the system's programs and libraries.
        write: whole paths of folders where it may also write, besides a /tmp of its own.
        way_out: the folder with the socket of a proxy, to be found as WAY_OUT; the only network
            that there is.
        cwd: where it works.
    """
    walls = [str(shutil.which("bwrap")), *_view(), "--unshare-all", "--die-with-parent"]
    walls += ["--cap-drop", "ALL", "--chdir", str(cwd)]
    for path in read:
        walls += ["--ro-bind", str(path), str(path)]
    for path in write:
        walls += ["--bind", str(path), str(path)]
    if way_out is not None:
        walls += ["--ro-bind", str(way_out), WAY_OUT]
    return [*walls, "--", *command]


def _view() -> list[str]:
    view = ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108  its own
    for path in _SYSTEM:
        if Path(path).is_symlink():
            view += ["--symlink", str(Path(path).readlink()), path]
        elif Path(path).is_dir():
            view += ["--ro-bind", path, path]
    return view + _bound(_SETTINGS)


def _bound(paths: Iterable[str]) -> list[str]:
    return [word for path in paths for word in ("--ro-bind-try", path, path)]
