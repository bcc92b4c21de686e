"""The Python packages of a model: a folder for each set of requirements, made once, by uv.

Foreign code runs only within the walls. Packages that are built already (wheels) are put together
by uv without running any of theirs, and shared with uv's cache by hard links. Where something has
to be built, such as a setup.py's package, all of it is done anew within the walls, with a cache of
that model's own: one that wrote into the common one could change what others run. What comes of it
leaves them as an archive.
"""

import logging
import os
import re
import shutil
import tarfile
from pathlib import Path, PurePosixPath
from threading import Lock

import uv

from trackstack.agent import folders
from trackstack.agent.machine import StepError, run
from trackstack.agent.models import outlet
from trackstack.agent.models.trouble import told_by
from trackstack.agent.models.walls import Task, View, Walls
from trackstack.desired import Part, content_id

_NO_FILE = r"(?!\S+\.(whl|zip|t?gz|tar\.\w+)\b)"
_PLAIN = re.compile(
    _NO_FILE + r"[A-Za-z0-9][\w.-]*(\[[\w., -]*\])?\s*([<>=!~]=?[^;@/\\]*)?(;[^@/\\]*)?"
)
"""A package by its name, from the index that this computer uses."""
_NAMES_MLFLOW = re.compile(r"^mlflow(-skinny)?\b(?!-)", re.MULTILINE | re.IGNORECASE)
_WHOLE = ".whole"
"""In an environment that can be used; its time is that of the last use."""

_FASTER = ("httptools", "uvloop")
"""https://uvicorn.dev/installation/ names these; without them it parses HTTP in Python."""
_OF_PACKAGES = frozenset((name,) for name in ("lib", "bin", "include", "share", "etc"))
_PACK = (
    'made=$1 speed=$2; shift 2; mkdir -p "$made"; "$@" -r "$0" >&2 || exit; '
    '"$@" --no-deps $speed >&2; exec tar -cf - -C "$made" .'
)

_log = logging.getLogger("trackstack.models")
_making: dict[str, Lock] = {}
_guard = Lock()


class Wanted(Part):
    """What an environment is made from.

    Attributes:
        python: a version with two numbers; another third one loads the same models.
        requirements: what stands in a requirements file.
        constraints: likewise, or empty.
        files: the folder with the model, when the requirements may name files in it.
    """

    python: str
    requirements: str
    constraints: str = ""
    files: str = ""

    @property
    def id(self) -> str:
        """Names the environment: equal wishes share it."""
        return content_id(self.model_dump(mode="json"))

    @property
    def folder(self) -> Path:
        """Where it lies, in the machine's folder."""
        return folders.MODEL_ENVIRONMENTS / self.id

    @property
    def is_plain(self) -> bool:
        """Whether it names packages only, and no options, addresses or files."""
        lines = f"{self.requirements}\n{self.constraints}".splitlines()
        named = [line.partition(" #")[0].strip() for line in lines]
        return all(
            not line or line.startswith("#") or _PLAIN.fullmatch(line)
            for line in named
            if line != "-c constraints.txt"
        )


def wanted_by(model: Path, mlflow: str) -> Wanted:
    """The environment that a model's files ask for.

    Args:
        model: the folder with its files.
        mlflow: the version of MLflow for a model that names none.

    Raises:
        StepError: the files do not say which Python.
    """
    told = _text(model / "python_env.yaml")
    version = re.search(r"^python:\s*['\"]?(\d+\.\d+)", told, re.MULTILINE)
    if version is None:
        raise StepError("its files do not say which Python it wants: no python_env.yaml")
    requirements = _text(model / "requirements.txt")
    if not _NAMES_MLFLOW.search(requirements):
        requirements += f"\nmlflow=={mlflow}\n"
    constraints = _text(model / "constraints.txt")
    wanted = Wanted(python=version[1], requirements=requirements, constraints=constraints)
    return wanted if wanted.is_plain else wanted.model_copy(update={"files": str(model)})


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

    By both names: one that uv fetched is named by a link, without the third number.
    """
    settings = _text(environment / "pyvenv.cfg")
    home = re.search(r"^home = (.+)$", settings, re.MULTILINE)
    if home is None:
        raise StepError("its packages' folder is damaged: it names no Python")
    named = Path(home[1])
    bases = dict.fromkeys((named.parent, named.resolve().parent))
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


def unpack(archive: Path, environment: Path) -> None:
    """Put what was built into its environment, where it takes no other file's place.

    Foreign code wrote the archive: of it only files count, below the folders that packages have.

    Raises:
        StepError: it is none, or damaged.
    """
    try:
        with tarfile.open(archive, "r:") as packed:
            for entry in packed:
                path = PurePosixPath(entry.name)
                if not entry.isfile() or path.is_absolute() or ".." in path.parts:
                    continue
                content = packed.extractfile(entry)
                if path.parts[:1] not in _OF_PACKAGES or content is None:
                    continue
                to = environment / path
                to.parent.mkdir(parents=True, exist_ok=True)
                try:
                    with to.open("xb") as file:
                        shutil.copyfileobj(content, file, 1 << 20)
                except FileExistsError:
                    continue
                if entry.mode & 0o100:
                    to.chmod(to.stat().st_mode | 0o110)
    except tarfile.TarError as error:
        raise StepError("what was built for it is damaged", str(error)) from error


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise StepError(f"its file {file.name} cannot be read") from error
