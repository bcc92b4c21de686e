"""Golden roots: Debian systems made once by mmdebstrap, which machines of tests start from."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kits import CACHE

# What lets this host reach its package mirrors; a fresh machine beside it has the same.
_NETWORK_SETTINGS = (
    "etc/hosts",
    "etc/pip.conf",
    "etc/resolv.conf",
    "etc/apt/apt.conf.d/99*",
    "etc/apt/apt.conf.d/*proxy*",
    "usr/local/share/ca-certificates/*.crt",
)


@contextmanager
def golden_root(name: str, recipe: bytes, make: Callable[[Path], None]) -> Iterator[Path]:
    """A folder of the cache with what `make` makes, for reading, and there as long as it is used.

    Args:
        name: one recipe of a name is kept at a time.
        recipe: all that decides what is made; another one makes it anew.
        make: fills an empty folder.
    """
    roots = CACHE / "machines"
    golden = roots / f"{name}-{hashlib.sha256(recipe).hexdigest()[:12]}"
    unfinished = roots / f"{name}-unfinished"
    # Nobody but root is to reach the set-user-id programs in there.
    roots.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (roots / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        while not golden.exists():
            # Tests in other processes want the same root, or still use another.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not golden.exists():
                for outdated in roots.glob(f"{name}-*"):
                    shutil.rmtree(outdated)
                make(unfinished)
                unfinished.rename(golden)
            fcntl.flock(lock, fcntl.LOCK_SH)
        yield golden


def debian(suite: str, packages: Sequence[str], root: Path) -> None:
    """A Debian system without what is only recommended."""
    include = f"--include={','.join(packages)}"
    made = subprocess.run(
        ["mmdebstrap", "--variant=minbase", include, suite, root],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={"PATH": os.defpath + ":/usr/sbin:/sbin", "LC_ALL": "C.UTF-8"},
        check=False,
    )
    assert made.returncode == 0, made.stdout[-2000:]


def copy_network_settings(root: Path, leave_out: Sequence[str] = ()) -> None:
    """Give a root what this host reaches its package mirrors with.

    Args:
        leave_out: files of it that the root has by other means.
    """
    for pattern in _NETWORK_SETTINGS:
        for path in Path("/").glob(pattern):
            name = str(path.relative_to("/"))
            if name not in leave_out:
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, root / name)
