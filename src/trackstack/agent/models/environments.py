"""The Python packages of a model: a folder for each set of requirements, made once, by uv.

Foreign code runs only within the walls. Packages that are built already (wheels) are put together
by uv without running any of theirs, and shared with uv's cache by hard links. Where something has
to be built, such as a setup.py's package, all of it is done anew within the walls, with a cache of
that model's own: one that wrote into the common one could change what others run.
"""

import logging
import os
import re
import shutil
from pathlib import Path
from threading import Lock

import uv

from trackstack.agent import folders
from trackstack.agent.machine import StepError, run
from trackstack.agent.models import outlet, walls
from trackstack.agent.processes import MARK, SERVICE
from trackstack.desired import Part, content_id
from trackstack.errors import printable

_NO_FILE = r"(?!\S+\.(whl|zip|t?gz|tar\.\w+)\b)"
_PLAIN = re.compile(
    _NO_FILE + r"[A-Za-z0-9][\w.-]*(\[[\w., -]*\])?\s*([<>=!~]=?[^;@/\\]*)?(;[^@/\\]*)?"
)
"""A package by its name, from the index that this computer uses."""
_NAMES_MLFLOW = re.compile(r"^mlflow(-skinny)?\b(?!-)", re.MULTILINE | re.IGNORECASE)
_WHOLE = ".whole"
"""In an environment that can be used; its time is that of the last use."""

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


def ensure(wanted: Wanted) -> None:
    """Have an environment; one that is being made for another model is waited for.

    Raises:
        StepError: the Python or a package cannot be had.
    """
    with _guard:
        lock = _making.setdefault(wanted.id, Lock())
    with lock:
        if (wanted.folder / _WHOLE).is_file():
            (wanted.folder / _WHOLE).touch()
            return
        _make(wanted)
        os.sync()
        (wanted.folder / _WHOLE).touch()


def python_places(environment: Path) -> list[Path]:
    """The folders of the Python that an environment is made from, which it cannot do without."""
    base = _base(environment)
    return [base / name for name in ("bin", "lib", "include") if (base / name).is_dir()]


def _base(environment: Path) -> Path:
    settings = _text(environment / "pyvenv.cfg")
    home = re.search(r"^home = (.+)$", settings, re.MULTILINE)
    if home is None:
        raise StepError("its packages' folder is damaged: it names no Python")
    return Path(home[1]).resolve().parent


def _make(wanted: Wanted) -> None:
    problem = "its packages could not be installed"
    folder = wanted.folder.absolute()
    if wanted.is_plain:
        install = _begin(wanted, folder)
        try:
            run([*install, "--no-build"], problem)
        except StepError:
            _log.info("%s: something has to be built, or is not there at all", wanted.id)
        else:
            return
    install = _begin(wanted, folder)
    _install_within_walls(install, folder, problem, Path(wanted.files) if wanted.files else folder)


def _begin(wanted: Wanted, folder: Path) -> list[str]:
    """An empty environment, and the command that is to fill it."""
    tool = uv.find_uv_bin()
    shutil.rmtree(folder, ignore_errors=True)
    run(
        [tool, "venv", "--quiet", "--no-project", "--python", wanted.python, str(folder)],
        f"there is no Python {wanted.python} for it, and none could be fetched",
        {"UV_PYTHON_INSTALL_DIR": str(folders.MODEL_PYTHONS.absolute())},
    )
    (folder / "requirements.txt").write_text(wanted.requirements)
    (folder / "constraints.txt").write_text(wanted.constraints)
    install = [tool, "pip", "install", "--quiet", "--python", str(folder / "bin" / "python")]
    return [*install, "-r", str(folder / "requirements.txt")]


def _install_within_walls(install: list[str], folder: Path, problem: str, model: Path) -> None:
    model = model.absolute()
    cache, way_out = folder / ".cache", folders.RUN / f"way-out-{folder.name}"
    cache.mkdir()
    given = {n: v for n, v in os.environ.items() if n.startswith(("UV_", "SSL_CERT_", "LC_"))}
    given |= {n: os.environ[n] for n in ("PATH", MARK, SERVICE) if n in os.environ}
    given |= {"HOME": "/tmp", "UV_CACHE_DIR": str(cache)}  # noqa: S108  the walls' own
    if not walls.there():
        given |= {n: v for n, v in os.environ.items() if n.lower().endswith("_proxy")}
        run(install, problem, inherited=given)
        return
    python = str(folder / "bin" / "python")
    command = [python, "-P", "-c", outlet.WITHIN, f"{walls.WAY_OUT}/socket", *install]
    readable = (Path(install[0]).parent, *python_places(folder), model)
    way_out.mkdir(mode=0o700, exist_ok=True)
    try:
        with outlet.running(way_out / "socket"):
            within = walls.within(
                command, readable, write=(folder,), way_out=way_out.absolute(), cwd=model
            )
            run(within, problem, inherited=given)
    finally:
        shutil.rmtree(way_out, ignore_errors=True)
        shutil.rmtree(cache, ignore_errors=True)


def told_by(error: StepError) -> str:
    """Why a step failed, in a line: its sentence and the last that its program said."""
    # uv draws lines beside its words.
    said = " ".join(re.sub(r"[│╰─▶×]", " ", error.output).split())  # noqa: RUF001
    return printable(f"{error.problem}: {said[-400:]}" if said else error.problem)


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise StepError(f"its file {file.name} cannot be read") from error
