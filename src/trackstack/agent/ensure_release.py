"""What a release needs before a service of it starts: files, packages, keys, room."""

import os
import re
import secrets
import shutil
import sys
from base64 import urlsafe_b64encode

import uv

from trackstack.agent import folders
from trackstack.agent.machine import StepError, run, this_boot
from trackstack.agent.round import Round
from trackstack.desired import Release
from trackstack.durable import BEGUN, flush_folder, write_durably

_KEPT_RELEASES = 3
_LOCKED = re.compile(r"^[\w.-]+(?===)", re.MULTILINE)
"""The packages that a lock names."""


def ensure_folders(_: Round) -> None:
    """Have every folder of the machine, without what a killed agent had begun to write."""
    folders.make_all()
    for folder in (folders.SERVICES, folders.DATA):
        for half in folder.glob(f"{BEGUN}*"):
            half.unlink()


def ensure_files(this: Round) -> None:
    """Have every file of the release in a folder named by its id; nothing uses them yet."""
    release = this.wanted_release()
    if release is None:
        return
    folder = folders.RELEASES / release.id
    if not folder.is_dir():
        staged = folders.RELEASES / "new"
        shutil.rmtree(staged, ignore_errors=True)
        for file in release.files:
            folders.write(staged / file.path, file.content.encode())
        # The folder has its name only once it is whole.
        staged.rename(folder)
        flush_folder(folders.RELEASES)


def ensure_packages(this: Round) -> None:
    """Have the release's locked packages installed, every one checked against its hash."""
    release = this.wanted_release()
    if release is None:
        return
    folder = folders.PACKAGES / release.packages_id
    begun, whole = folder / ".begun", folder / ".whole"
    if whole.is_file():
        return
    tool = uv.find_uv_bin()
    if begun.is_file() and begun.read_text() != this_boot():
        # uv does not wait for the disk: of what it keeps, a power cut may have left empty files. It
        # may keep other programs' packages too, which stay.
        clean = [tool, "cache", "clean", "--quiet", *_LOCKED.findall(release.packages)]
        run(clean, "what uv keeps of the server's packages could not be removed")
    lock = folders.TEMPORARY / "packages.txt"
    lock.write_text(release.packages)
    run(
        [
            tool,
            "venv",
            "--quiet",
            "--clear",
            "--no-project",
            "--python",
            sys.executable,
            str(folder),
        ],
        "the folder for the server's packages could not be made",
    )
    write_durably(begun, this_boot().encode())
    run(
        [tool, "pip", "sync", "--quiet", "--require-hashes", "--python", str(folder), str(lock)],
        "the server's packages could not be installed",
    )
    os.sync()
    write_durably(whole, b"")


def ensure_secrets(_: Round) -> None:
    """Have MLflow's own keys, made once; losing them loses what MLflow encrypted with them."""
    if folders.is_shared() and not folders.is_own_file(folders.STORES):
        # MLflow may put down in that folder what is not there, and reads this when it starts.
        folders.give_way(folders.STORES)
        folders.write(folders.STORES, b"")
    if folders.SECRETS.is_file():
        return
    passphrase = secrets.token_urlsafe(32)
    webhook = urlsafe_b64encode(secrets.token_bytes(32)).decode()  # a Fernet key
    folders.write(
        folders.SECRETS,
        f"MLFLOW_CRYPTO_KEK_PASSPHRASE={passphrase}\n"
        f"MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY={webhook}\n".encode(),
    )


def ensure_retired(this: Round) -> None:
    """Stop what the live release does not run, and drop files and packages long unused."""
    live = live_release_id()
    release = this.wanted_release()
    if release is None or live != release.id:
        return
    stop_all_but(this, release.mlflow)
    newest = sorted(folders.RELEASES.iterdir(), key=lambda folder: folder.stat().st_mtime)
    for folder in newest[:-_KEPT_RELEASES]:
        if folder.name != live:
            shutil.rmtree(folder)
    for folder in folders.PACKAGES.iterdir():
        if folder.name != release.packages_id:
            shutil.rmtree(folder)


def stop_all_but(this: Round, kept: str) -> None:
    """Stop every MLflow service but one, and forget their definitions."""
    # By any of its files: a killed agent may have removed some of them.
    for service in {file.name.partition(".")[0] for file in folders.SERVICES.glob("mlflow-*")}:
        if service != kept:
            retire(this, service)
    # Power that was cut leaves the socket of what ran then.
    for socket in folders.RUN.glob("mlflow-*.sock"):
        if socket != folders.mlflow_socket(kept):
            folders.give_way(socket)


def retire(this: Round, service: str) -> None:
    """Stop one service and forget its definition."""
    this.machine.stop(service)
    for file in folders.SERVICES.glob(f"{service}.*"):
        file.unlink()


def place_service(release: Release, service: str) -> None:
    """Copy a service's files from the release to where the machine looks for services."""
    prefix = f"services/{service}."
    files = [file for file in release.files if file.path.startswith(prefix)]
    if not files:
        raise StepError(f"the release holds no files of the service {service}")
    for file in files:
        placed = folders.SERVICES / file.path.removeprefix("services/")
        if not placed.is_file() or placed.read_text() != file.content:
            folders.write(placed, file.content.encode())


def live_release_id() -> str | None:
    """The id of the release that serves now."""
    return folders.LIVE.readlink().name if folders.LIVE.is_symlink() else None
