"""What foreign code has packed, taken apart outside the walls."""

import shutil
import tarfile
from pathlib import Path, PurePosixPath

from trackstack.agent.machine import StepError

_OF_PACKAGES = frozenset((name,) for name in ("lib", "bin", "include", "share", "etc"))


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
