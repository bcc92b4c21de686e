"""What a model's files say of the Python and the packages that it wants."""

import re
from pathlib import Path

from trackstack.agent import folders
from trackstack.agent.machine import StepError
from trackstack.desired import Part, content_id

_NO_FILE = r"(?!\S+\.(whl|zip|t?gz|tar\.\w+)\b)"
_PLAIN = re.compile(
    _NO_FILE + r"[A-Za-z0-9][\w.-]*(\[[\w., -]*\])?\s*([<>=!~]=?[^;@/\\]*)?(;[^@/\\]*)?"
)
"""A package by its name, from the index that this computer uses."""
_MOST_BYTES = 1 << 20
_NAMES_MLFLOW = re.compile(r"^mlflow(-skinny)?\b(?!-)", re.MULTILINE | re.IGNORECASE)


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


def _text(file: Path) -> str:
    """A file's text, or nothing when there is no such file.

    Raises:
        StepError: it cannot be read, or is no list of packages by its size.
    """
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise StepError(f"its file {file.name} is larger than {_MOST_BYTES >> 20} MB")
        return file.read_text()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise StepError(f"its file {file.name} cannot be read") from error
