"""The Python packages of a model: a folder for each set of requirements, made once, by uv.

Foreign code runs only within the walls. Packages that are built already (wheels) are put together
by uv without running any of theirs, and shared with uv's cache by hard links. Where something has
to be built, such as a setup.py's package, all of it is done anew within the walls, with a cache of
that model's own: one that wrote into the common one could change what others run. What comes of it
leaves them as an archive.
"""

import logging
import os
import shutil
from pathlib import Path
from threading import Lock

import uv

from trackstack.agent import folders
from trackstack.agent.machine import StepError, run
from trackstack.agent.models import outlet
from trackstack.agent.models.archives import unpack
from trackstack.agent.models.requirements import Wanted
from trackstack.agent.models.trouble import told_by
from trackstack.agent.models.walls import Task, View, Walls

_WHOLE = ".whole"
"""In an environment that can be used; its time is that of the last use."""

_FASTER = ("httptools", "uvloop")
"""https://uvicorn.dev/installation/ names these; without them it parses HTTP in Python."""
_PACK = (
    'made=$1 speed=$2; shift 2; mkdir -p "$made"; "$@" -r "$0" >&2 || exit; '
    '"$@" --no-deps $speed >&2; exec tar -cf - -C "$made" .'
)

_log = logging.getLogger("trackstack.models")
_making: dict[str, Lock] = {}
_guard = Lock()


def ensure(wanted: Wanted, walls: Walls) -> None:
    """Have an environment; one that is being made for another model is waited for.

    A new version of the system may have taken its Python away: then it is made anew.

    Raises:
        StepError: the Python or a package cannot be had.
    """
    with _guard:
        lock = _making.setdefault(wanted.id, Lock())
    with lock:
        if (wanted.folder / _WHOLE).is_file() and (wanted.folder / "bin" / "python").exists():
            (wanted.folder / _WHOLE).touch()
            return
        _make(wanted, walls)
        os.sync()
        (wanted.folder / _WHOLE).touch()


def python_places(environment: Path) -> list[Path]:
    """The folders of the Python that an environment is made from, which it cannot do without.

    By both names: one that uv fetched is named by a link, without the third number. By the link to
    it, whose name uv keeps for itself: what pyvenv.cfg says, a package may have written.
    """
    python = environment / "bin" / "python"
    if not python.is_symlink():
        raise StepError("its packages' folder is damaged: it names no Python")
    bases = dict.fromkeys(each.parent.parent for each in (python.readlink(), python.resolve()))
    places = [base / name for base in bases for name in ("bin", "lib", "include")]
    return [place for place in places if place.is_dir()]


def _make(wanted: Wanted, walls: Walls) -> None:
    problem = "its packages could not be installed"
    folder = wanted.folder
    if wanted.is_plain:
        _begin(wanted)
        _speed_up(folder)
        requirements = str(folder.absolute() / "requirements.txt")
        install = _install(uv.find_uv_bin(), folder.absolute(), "--no-build")
        try:
            run([*install, "-r", requirements], problem)
        except StepError:
            _log.info("%s: something has to be built, or is not there at all", wanted.id)
        else:
            return
    _begin(wanted)
    built = folder.with_name(f"{folder.name}.tar")
    task = Task(
        name=f"build_{wanted.id}",
        files=Path(wanted.files) if wanted.files else folder,
        environment=folder,
        command=_build,
        variables=_variables,
        answer=built,
        network=True,
    )
    try:
        walls.run(task, problem)
        unpack(built, folder)
    finally:
        built.unlink(missing_ok=True)


def _speed_up(folder: Path) -> None:
    """Have uvicorn, which serves the model, use what it takes for speed where it is there.

    Before anything else is in there: uv starts the environment's Python to ask about it, and that
    runs what foreign packages say in .pth files.
    """
    install = _install(uv.find_uv_bin(), folder.absolute(), "--no-build", "--no-deps")
    try:
        run([*install, *_FASTER], "what uvicorn uses for speed could not be installed")
    except StepError as error:
        _log.info("%s: %s", folder.name, told_by(error))


def _begin(wanted: Wanted) -> None:
    """An empty environment, and what is to be installed in it."""
    folder = wanted.folder
    shutil.rmtree(folder, ignore_errors=True)
    venv = [uv.find_uv_bin(), "venv", "--quiet", "--no-project", "--relocatable"]
    run(
        [*venv, "--python", wanted.python, str(folder.absolute())],
        f"there is no Python {wanted.python} for it, and none could be fetched",
        {"UV_PYTHON_INSTALL_DIR": str(folders.MODEL_PYTHONS.absolute())},
    )
    (folder / "requirements.txt").write_text(wanted.requirements)
    (folder / "constraints.txt").write_text(wanted.constraints)


def _install(uv_: str, environment: Path, *flags: str) -> list[str]:
    python = str(environment / "bin" / "python")
    return [uv_, "pip", "install", "--quiet", "--python", python, *flags]


def _build(view: View) -> list[str]:
    """Build and install beside the environment, and print that as an archive."""
    made = str(view.scratch / "made")
    install = _install(str(view.uv), view.environment, "--prefix", made)
    requirements = str(view.environment / "requirements.txt")
    command = ["/bin/sh", "-c", _PACK, requirements, made, " ".join(_FASTER), *install]
    if view.way_out is None:
        return command
    python = str(view.environment / "bin" / "python")
    return [python, "-P", "-c", outlet.WITHIN, str(view.way_out), *command]


def _variables(view: View) -> dict[str, str]:
    passed = ("UV_", "SSL_CERT_", "LC_", "PATH")
    given = {n: v for n, v in os.environ.items() if n.startswith(passed)}
    if view.way_out is None:  # without walls
        given |= {n: v for n, v in os.environ.items() if n.lower().endswith("_proxy")}
    own = {"HOME": str(view.scratch), "UV_CACHE_DIR": str(view.scratch / "cache")}
    return given | own
