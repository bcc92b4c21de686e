"""Writes out every file the machine would get."""

from pathlib import Path

from trackstack import spec
from trackstack.environment import Environment
from trackstack.errors import UsageError
from trackstack.operations.plan import intend
from trackstack.release import render_release

_PACKAGES = "packages.txt"
_CLOUD_PLAN = "plan.json"
"""What the program in stacks/ takes as the stack's configuration `trackstack:plan`."""


def render(
    environment: Environment, flags: spec.Asked, folder: Path, file: Path | None = None
) -> list[Path]:
    """Render what a deploy with the same flags would, into an empty or new folder.

    Of an environment in a cloud, which must have been made, also what the engine gets.

    Returns:
        The files written.

    Raises:
        UsageError: something stands in the folder already, or it cannot be written.
        TrackstackError: it is in a cloud, and not made whole yet.
    """
    intent = intend(environment, environment.kind, flags, file)
    known = intent.record.outputs if intent.record else None
    content = render_release(intent.plan, known or environment.target.outputs(intent.plan))
    files = {each.path: each.content for each in content["files"]}  # type: ignore[attr-defined]
    files[_PACKAGES] = intent.plan.packages
    if intent.plan.cloud is not None:
        files[_CLOUD_PLAN] = intent.plan.cloud.model_dump_json(indent=1)
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder} is there and not an empty folder.", "Name a new folder.")
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}.") from error
    return [folder / path for path in sorted(files)]
