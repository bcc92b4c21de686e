"""Writes out every file the machine would get."""

from pathlib import Path

from trackstack import spec
from trackstack.environment import Environment
from trackstack.errors import UsageError
from trackstack.operations.plan import intend
from trackstack.release import render_release


def render(
    environment: Environment,
    target: str,
    flags: spec.Asked,
    folder: Path,
    file: Path | None = None,
) -> list[Path]:
    """Render what a deploy with the same flags would, into an empty or new folder.

    Returns:
        The files written.

    Raises:
        UsageError: something stands in the folder already, or it cannot be written.
    """
    intent = intend(environment, target, flags, file)
    content = render_release(intent.plan, environment.target.outputs(intent.plan))
    files = {each.path: each.content for each in content["files"]}  # type: ignore[attr-defined]
    files["packages.txt"] = intent.plan.packages
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder} is there and not an empty folder.", "Name a new folder.")
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}.") from error
    return [folder / path for path in sorted(files)]
