"""An MLflow project as its files describe it: entry points, parameters, what it has to import."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Formatter
from typing import Any, Literal
from urllib.parse import urlsplit

import yaml
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from pydantic import Field, ValidationError

from trackstack import names
from trackstack.desired import Part
from trackstack.errors import UsageError

MAIN = "main"

_SCRIPTS = (".py", ".sh")
_ELSEWHERE = {"docker_env": "in a Docker image", "databricks_spark_job": "as a job of Databricks"}
_ENVIRONMENTS = ("python_env", "conda_env")
_PYTHON_FILE, _CONDA_FILE = "python_env.yaml", "conda.yaml"
"""What says what a project imports when its MLproject names no file."""
_BUILD_PACKAGES = frozenset({"pip", "setuptools", "wheel"})
_CONDA = re.compile(r"(?:[\w./-]+::)?(?P<name>[\w.-]+)\s*(?P<rest>.*)")


class Parameter(Part):
    """A parameter that an entry point declares.

    Attributes:
        type: 'string', 'float', 'path' or 'uri', or a word that means nothing to MLflow.
        default: None for one that has to be given.
    """

    type: str = "string"
    default: Any = None


class EntryPoint(Part):
    """What can be run in a project.

    Attributes:
        command: for the shell, with each parameter in braces.
    """

    parameters: dict[str, Parameter] = Field(default_factory=dict)
    command: str


class Project(Part):
    """A project's MLproject file, or what holds without one.

    Attributes:
        environment: the kind of file that says what it imports; None when there is none.
        file: that file, relative to the project's folder.
    """

    entry_points: dict[str, EntryPoint] = Field(default_factory=dict)
    environment: Literal["python_env", "conda_env"] | None = None
    file: str = ""


class Imports(Part):
    """What a project has to import.

    Attributes:
        python: a version as uv takes it, such as '3.11' or '>=3.10,<3.13'; None for any.
        requirements: as in a requirements file that lies in the project's folder.
    """

    python: str | None = None
    requirements: tuple[str, ...] = ()


def parameters(given: Sequence[str]) -> dict[str, str]:
    """What `-P name=value` said, by name.

    Raises:
        UsageError: one has no '=', or a name comes twice.
    """
    found: dict[str, str] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not name or not equals:
            raise UsageError(f"{each!r} is no parameter.", "Write it as in `-P tree_depth=3`.")
        if name in found:
            raise UsageError(f"The parameter {name!r} was given twice.")
        found[name] = value
    return found


def read(folder: Path) -> Project:
    """The project in a folder.

    Raises:
        UsageError: its MLproject file is damaged, or it runs where this kit runs nothing.
    """
    file = next((each for each in folder.iterdir() if each.name.lower() == "mlproject"), None)
    content = _mapping(file) if file else {}
    for key, where in _ELSEWHERE.items():
        if key in content:
            raise UsageError(
                f"This project runs {where} ({key} in its MLproject), which `run` does not do.",
                'Use MLflow\'s own command: `eval "$(trackstack env)"`, then `mlflow run`.',
            )
    try:
        points = {
            str(name): EntryPoint(
                parameters={
                    str(key): _parameter(each)
                    for key, each in (point.get("parameters") or {}).items()
                },
                command=point["command"],
            )
            for name, point in (content.get("entry_points") or {}).items()
        }
        for name, point in points.items():
            _check_braces(name, point)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{file} is damaged: an entry point needs a `command`, and may have `parameters`.",
        ) from error
    kind, named = _environment(folder, content)
    return Project(entry_points=points, environment=kind, file=named)


def check(project: Project, folder: Path, entry: str, given: Mapping[str, str]) -> None:
    """See that an entry point can be run with these parameters, as far as its files say.

    Raises:
        UsageError: no such entry point; a parameter is missing, unknown or of another kind.
    """
    point = project.entry_points.get(entry)
    if point is None:
        if entry.endswith(_SCRIPTS) and (folder / entry).is_file():
            return
        raise _no_entry_point(project, entry)
    unknown = [name for name in given if name not in point.parameters]
    if unknown and point.parameters:
        near = names.nearest(unknown[0], point.parameters)
        raise UsageError(
            f"{entry!r} has no parameter {unknown[0]!r}; it has {', '.join(point.parameters)}.",
            f"Did you mean {near!r}?" if near else None,
        )
    missing = [n for n, p in point.parameters.items() if n not in given and p.default is None]
    if missing:
        raise UsageError(
            f"{entry!r} needs a value for {' and '.join(missing)}.",
            "Give it with " + " ".join(f"`-P {name}=…`" for name in missing) + ".",
        )
    for name, value in given.items():
        kind = point.parameters[name].type if name in point.parameters else "string"
        if not _fits(kind, value):
            raise UsageError(f"The parameter {name!r} is of type {kind}, and {value!r} is not.")


def imports(project: Project, folder: Path, known: Mapping[str, str]) -> Imports | None:
    """What the project says it imports; None when it says nothing.

    Args:
        project: as it was read.
        folder: the project's.
        known: packages that are the same on PyPI and for conda, by name: MLflow's own lock.

    Raises:
        UsageError: its file is missing or damaged, or it names a package that only conda has.
    """
    if project.environment is None:
        return None
    file = folder / project.file
    content = _mapping(file)
    found = (
        _of_python(content) if project.environment == "python_env" else _of_conda(content, known)
    )
    if found is None:
        raise UsageError(f"{file} is damaged: it does not say which packages the project needs.")
    return found


def _environment(
    folder: Path, content: Mapping[str, Any]
) -> tuple[Literal["python_env", "conda_env"] | None, str]:
    if all(key in content for key in _ENVIRONMENTS):
        raise UsageError("The MLproject names both python_env and conda_env.", "Drop one of them.")
    if "python_env" in content:
        return "python_env", str(content["python_env"])
    if "conda_env" in content:
        return "conda_env", str(content["conda_env"])
    if (folder / _PYTHON_FILE).is_file():
        return "python_env", _PYTHON_FILE
    if (folder / _CONDA_FILE).is_file():
        return "conda_env", _CONDA_FILE
    return None, ""


def _parameter(content: Any) -> Parameter:
    # Either its type alone, or a mapping that may hold what only people read.
    if isinstance(content, str):
        return Parameter(type=content)
    return Parameter(type=content.get("type", "string"), default=content.get("default"))


def _check_braces(name: str, point: EntryPoint) -> None:
    """See that a command names only parameters that there are: MLflow would make the run first."""
    for _, brace, _, _ in Formatter().parse(point.command):
        if brace is not None and brace not in point.parameters:
            raise UsageError(
                f"The command of {name!r} in MLproject names {{{brace}}}, which is none of its "
                f"parameters{': ' if point.parameters else ''}{', '.join(point.parameters)}."
            )


def _no_entry_point(project: Project, entry: str) -> UsageError:
    if not project.entry_points:
        return UsageError(
            f"This is no MLflow project with an entry point {entry!r}: it has no MLproject that "
            "names one.",
            "Say which script to run: `--entry-point train.py`.",
        )
    there = ", ".join(project.entry_points)
    near = names.nearest(entry, project.entry_points)
    return UsageError(
        f"The project has no entry point {entry!r}; it has {there}.",
        f"Did you mean {near!r}?" if near else None,
    )


def _fits(kind: str, value: str) -> bool:
    try:
        if kind == "float":
            return not math.isnan(float(value)) or value.lower() == "nan"
        if kind == "int":
            return isinstance(int(value), int)
    except ValueError:
        return False
    if kind == "uri":
        return _is_uri(value)
    if kind == "path":
        return _is_uri(value) or Path(value).exists()
    return True


def _is_uri(value: str) -> bool:
    try:
        return bool(urlsplit(value).scheme)
    except ValueError:
        return False


def _mapping(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text())
    except FileNotFoundError as error:
        raise UsageError(f"The project names {file.name}, and there is no such file.") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        raise UsageError(f"{file} is no YAML{line}.") from error
    except (ValueError, LookupError, AttributeError) as error:
        # What PyYAML lets through of a value that looks like a date or a number, and is none.
        raise UsageError(
            f"{file} is damaged: it holds a date or a number that is none.",
            "Write a text that looks like one in quotes.",
        ) from error
    if not isinstance(content, dict):
        raise UsageError(f"{file} is damaged: it holds no mapping.")
    return content


def _of_python(content: Mapping[str, Any]) -> Imports | None:
    build, wanted = _texts(content.get("build_dependencies")), _texts(content.get("dependencies"))
    if build is None or wanted is None:
        return None
    try:
        # A number would have lost its last zero: 3.10 is 3.1.
        return Imports(python=content.get("python"), requirements=(*build, *wanted))
    except ValidationError:
        return None


def _texts(listed: Any) -> list[str] | None:
    """A list of texts, which may be left out; None for what is no such list."""
    listed = [] if listed is None else listed
    sound = isinstance(listed, list) and all(isinstance(each, str) for each in listed)
    return listed if sound else None


def _of_conda(content: Mapping[str, Any], known: Mapping[str, str]) -> Imports | None:
    python: str | None = None
    wanted: list[str] = []
    listed = content.get("dependencies")
    if not isinstance(listed, list | None):
        return None
    for each in listed or []:
        if isinstance(each, dict) and isinstance(each.get("pip"), list):
            of_pip = _texts(each["pip"])
            if of_pip is None:
                return None
            wanted += of_pip
            continue
        match = _CONDA.fullmatch(each.strip()) if isinstance(each, str) else None
        versions = _conda_versions(match["rest"]) if match else None
        if match is None or versions is None:
            return None
        if match["name"] == "python":
            python = versions.removeprefix("==").removesuffix(".*") or None
            continue
        if canonicalize_name(match["name"]) not in {*known, *_BUILD_PACKAGES}:
            raise UsageError(
                f"The project takes {match['name']!r} from conda, and what PyPI has under that "
                "name may be another package.",
                "If PyPI has it, name it under `pip:` in the project's file. Else, with conda on "
                'this computer: `eval "$(trackstack env)"`, then `mlflow run`.',
            )
        wanted.append(f"{match['name']}{versions}")
    return Imports(python=python, requirements=tuple(wanted))


def _conda_versions(rest: str) -> str | None:
    """Conda's way to ask for versions as PyPI's; None when it is not understood."""
    if not rest:
        return ""
    exact = re.fullmatch(
        r"(?P<equals>==?|)\s*(?P<version>\d[\w.]*?)(?P<any>\.?\*)?(\s*=\s*\S+)?", rest
    )
    if exact is not None:
        # One equals sign asks for all versions that begin so.
        fuzzy = exact["any"] or exact["equals"] == "="
        return f"=={exact['version']}{'.*' if fuzzy else ''}"
    try:
        return str(SpecifierSet(rest))
    except InvalidSpecifier:
        return None
