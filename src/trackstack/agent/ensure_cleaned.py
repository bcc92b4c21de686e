"""Removes for good what verify logged: MLflow itself only marks runs and experiments."""

import secrets
from pathlib import Path

from trackstack.agent import folders
from trackstack.agent.ensure_stores import settings
from trackstack.agent.ensure_users import let_in, shut_out
from trackstack.agent.machine import run
from trackstack.agent.round import Round
from trackstack.control.directory import write_durably
from trackstack.desired import Cleanup, Release

_AGENT = "trackstack.agent"


def ensure_cleaned(this: Round) -> None:
    """Carry out the clean-up document once; MLflow refuses what is not marked as deleted."""
    cleanup, release = this.wanted_cleanup(), this.wanted_release()
    if cleanup is None or release is None or cleaned_generation() >= cleanup.generation:
        return
    # Noted before it is tried: an id that is gone already would fail again for ever.
    write_durably(folders.CLEANED, str(cleanup.generation).encode())
    # Artifacts are reached through the proxy, so mlflow gc needs a login while it runs.
    password = secrets.token_urlsafe(24)
    let_in(_AGENT, f"{_AGENT}:{{PLAIN}}{password}\n")
    try:
        _collect(cleanup, release, password)
    finally:
        shut_out(_AGENT)
    if not folders.ARTIFACTS.is_symlink():
        remove_empty_folders(folders.ARTIFACTS / cleanup.experiment)


def _collect(cleanup: Cleanup, release: Release, password: str) -> None:
    given = settings(release)
    command = [str(folders.PACKAGES / release.packages_id / "bin" / "python"), "-m", "mlflow", "gc"]
    command += ["--backend-store-uri", given["MLFLOW_BACKEND_STORE_URI"]]
    # All three, always: a missing one means everything that anybody deleted.
    command += ["--run-ids", ",".join(cleanup.runs)]
    command += ["--logged-model-ids", ",".join(cleanup.models)]
    command += ["--experiment-ids", cleanup.experiment]
    run(
        command,
        "mlflow gc failed",
        {
            **given,
            "MLFLOW_TRACKING_URI": release.url,
            "MLFLOW_TRACKING_USERNAME": _AGENT,
            "MLFLOW_TRACKING_PASSWORD": password,
            "PYTHONSAFEPATH": "1",
        },
    )


def cleaned_generation() -> int:
    """The generation of the last clean-up that was carried out; 0 for none."""
    if not folders.CLEANED.is_file():  # a pipe would be waited on
        return 0
    try:
        return int(folders.CLEANED.read_text())
    except (OSError, ValueError):
        return 0


def remove_empty_folders(folder: Path) -> None:
    """Remove a folder and those in it as far as they hold no file."""
    if folder.is_symlink() or not folder.is_dir():
        return
    for inner in folder.iterdir():
        remove_empty_folders(inner)
    try:
        folder.rmdir()
    except OSError:
        return  # somebody's file is in it
