"""Writes out every file the machine would get."""

from pathlib import Path

from trackstack import spec
from trackstack.desired import ReleaseFile
from trackstack.environment import Environment
from trackstack.errors import UsageError
from trackstack.operations.plan import intend
from trackstack.release import render_release

_PACKAGES = "packages.txt"


def render(
    environment: Environment, flags: spec.Asked, folder: Path, file: Path | None = None
) -> list[Path]:
    """Render what a deploy with the same flags would, into an empty or new folder.

    Of an environment in a cloud, which must have been made, also what the engine gets; of a
    workspace also the folder that Docker gets, without secrets.

    Returns:
        The files written.

    Raises:
        UsageError: something stands in the folder already, or it cannot be written.
        TrackstackError: it is in a cloud, and not made whole yet.
    """
    intent = intend(environment, environment.kind, flags, file)
    known = intent.record.outputs if intent.record else None
    content = render_release(intent.plan, known or environment.target.outputs(intent.plan))
    release: tuple[ReleaseFile, ...] = content["files"]  # type: ignore[assignment]
    files = {each.path: each.content.encode() for each in release}
    files[_PACKAGES] = intent.plan.packages.encode()
    files |= environment.target.rendered(intent.plan)
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder} is there and not an empty folder.", "Name a new folder.")
        for path, data in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}.") from error
    return [folder / path for path in sorted(files)]
