"""A server of one test file's own, and a client that proves what comes back through it."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uv
from servers import OWNER, Server, kill_all_in

from kits import CACHE, free_port, seed_packages
from trackstack import lock
from trackstack.desired import content_id

ROUND_TRIP = Path(__file__).parent / "round_trip.py"


@dataclass(frozen=True)
class Alone(Server):
    """A server whose packages may be others than the client's, which are plain MLflow."""

    def packages(self) -> Path:
        version = ".".join(str(part) for part in sys.version_info[:3])
        plain = content_id(lock.for_mlflow(lock.DEFAULT_MLFLOW))
        return Path(CACHE / f"packages-{plain}-{version}")

    def up(
        self, *flags: str | Path, ok: bool = True, **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        """Deploy with flags, in a shell with variables."""
        common = ("--port", str(self.port), "--workers", "1", "--user", OWNER)
        return self.run("deploy", "local", *common, *flags, ok=ok, **variables)

    def proven(self) -> list[dict[str, Any]]:
        """Every check of every verify that a deploy ended with."""
        receipts = (self.folder() / "receipts").iterdir()
        return [check for file in receipts for check in json.loads(file.read_text())["checks"]]

    def round_trip(self, folder: Path, megabytes: int) -> dict[str, Any]:
        """What the MLflow client sees that logs a run with an artifact and fetches it again."""
        folder.mkdir(exist_ok=True)
        # As it sends 500 MB: in parts, and past the server where that says it may.
        large = "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE=1"
        done = self.client("env", large, "python", ROUND_TRIP, str(megabytes), folder=folder)
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return told


@contextmanager
def a_server(
    base: Path, kind: type[Alone] = Alone, *more: object, extra: Sequence[str] = ()
) -> Iterator[Alone]:
    """A home with plain MLflow's packages and more; whatever works in it is gone afterwards.

    Args:
        extra: packages besides, added to the plain ones: quicker than the agent's own installation.
    """
    made = kind(base / "home", free_port(), base / "account", *more)
    seed_packages(made.machine())
    try:
        if extra:
            _add_packages(made, extra)
        yield made
    finally:
        kill_all_in(base)
        subprocess.run(["rm", "-rf", base], check=True)


def _add_packages(server: Alone, extra: Sequence[str]) -> None:
    wanted = lock.for_mlflow(lock.DEFAULT_MLFLOW, extra)
    (plain,) = (server.machine() / "packages").iterdir()
    folder = plain.rename(plain.with_name(content_id(wanted)))
    whole = folder / ".whole"
    whole.unlink()
    subprocess.run(
        [uv.find_uv_bin(), "pip", "sync", "--quiet", "--require-hashes", "--python", folder, "-"],
        input=wanted,
        text=True,
        env={**lock.uv_settings(), **server.environment},
        check=True,
    )
    whole.touch()
