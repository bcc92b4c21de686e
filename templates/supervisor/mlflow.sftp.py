"""MLflow's artifacts on an SFTP server: a key, a pinned host key, connections that come back.

MLflow's own way needs pysftp, which nobody has looked after since 2016, and keeps connections that
a restart of the SFTP server ends for good.
"""

import os
import posixpath
import stat
from collections.abc import Callable
from pathlib import Path
from queue import Empty, LifoQueue
from typing import Any, TypeVar
from urllib.parse import urlsplit

import paramiko
from mlflow.entities import FileInfo
from mlflow.store.artifact.artifact_repo import ArtifactRepository

_KEY = "/run/secrets/sftp-key"
_KNOWN_HOSTS = "/run/secrets/known-hosts"
_BEGUN = ".new"
"""How a name ends while its file is being written."""
_CONNECT_SECONDS = 5
_SILENCE_SECONDS = 60
_KEPT = 8
"""Idle connections; each is a process on the server."""

T = TypeVar("T")


class SftpArtifacts(ArtifactRepository):  # type: ignore[misc]  # MLflow is not there to type checkers
    """A folder of an SFTP server, as sftp://USER@HOST:PORT/FOLDER."""

    def __init__(
        self, artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None
    ) -> None:
        super().__init__(artifact_uri, tracking_uri, registry_uri)
        self._place = urlsplit(artifact_uri)
        self._idle: LifoQueue[paramiko.SFTPClient] = LifoQueue(_KEPT)

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        """Put a file into a folder; whoever reads it sees all of it or nothing."""
        folder = self._path(artifact_path)
        name = posixpath.join(folder, Path(local_file).name)

        def put(sftp: paramiko.SFTPClient) -> None:
            _make_folder(sftp, folder)
            sftp.put(local_file, name + _BEGUN)
            sftp.posix_rename(name + _BEGUN, name)

        self._ask(put)

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        """Put all that is in a folder into another."""
        for folder, _, files in os.walk(local_dir):
            inner = Path(folder).relative_to(local_dir).as_posix()
            there = posixpath.normpath(posixpath.join(artifact_path or "", inner))
            for file in files:
                self.log_artifact(str(Path(folder, file)), "" if there == "." else there)

    def list_artifacts(self, path: str | None = None) -> list[Any]:
        """What is in a folder; nothing of a file, and of what is not there."""

        def look(sftp: paramiko.SFTPClient) -> list[Any]:
            try:
                return [_told(entry, path) for entry in sftp.listdir_attr(self._path(path))]
            except FileNotFoundError:
                return []
            except OSError:
                if _is_folder(sftp, self._path(path)):
                    raise
                return []

        found = [each for each in self._ask(look) if not each.path.endswith(_BEGUN)]
        return sorted(found, key=lambda each: str(each.path))

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        self._ask(lambda sftp: sftp.get(self._path(remote_file_path), local_path))

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        """Remove a file, or a folder with all that is in it."""
        self._ask(lambda sftp: _remove(sftp, self._path(artifact_path)))

    def _path(self, inner: str | None) -> str:
        return posixpath.join(self._place.path, inner) if inner else self._place.path

    def _ask(self, work: Callable[[paramiko.SFTPClient], T]) -> T:
        """Do something on a connection; once more on a fresh one when a kept one has ended."""
        while True:
            try:
                sftp, kept = self._idle.get_nowait(), True
            except Empty:
                sftp, kept = self._connect(), False
            try:
                result = work(sftp)
            except (FileNotFoundError, PermissionError):
                self._keep(sftp)
                raise
            except (OSError, EOFError, paramiko.SSHException):
                _close(sftp)
                if not kept:
                    raise
            except BaseException:
                _close(sftp)
                raise
            else:
                self._keep(sftp)
                return result

    def _connect(self) -> paramiko.SFTPClient:
        client = paramiko.SSHClient()
        # A host whose key is not in there is refused.
        client.load_host_keys(_KNOWN_HOSTS)
        client.connect(
            self._place.hostname or "",
            self._place.port or 22,
            self._place.username,
            key_filename=_KEY,
            allow_agent=False,
            look_for_keys=False,
            timeout=_CONNECT_SECONDS,
            banner_timeout=_CONNECT_SECONDS,
            auth_timeout=_CONNECT_SECONDS,
        )
        sftp = client.open_sftp()
        sftp.get_channel().settimeout(_SILENCE_SECONDS)
        # Only the client would end the connection when it is forgotten.
        sftp.client = client
        return sftp

    def _keep(self, sftp: paramiko.SFTPClient) -> None:
        if self._idle.full():
            _close(sftp)
        else:
            self._idle.put(sftp)


def _close(sftp: paramiko.SFTPClient) -> None:
    sftp.client.close()


def _make_folder(sftp: paramiko.SFTPClient, folder: str) -> None:
    if _is_folder(sftp, folder):
        return
    _make_folder(sftp, posixpath.dirname(folder))
    try:
        sftp.mkdir(folder, 0o700)
    except OSError:
        if not _is_folder(sftp, folder):  # another request may have made it meanwhile
            raise


def _is_folder(sftp: paramiko.SFTPClient, path: str) -> bool:
    try:
        return stat.S_ISDIR(sftp.stat(path).st_mode or 0)
    except FileNotFoundError:
        return False


def _remove(sftp: paramiko.SFTPClient, path: str) -> None:
    if not _is_folder(sftp, path):
        try:
            sftp.remove(path)
        except FileNotFoundError:
            return
        return
    for name in sftp.listdir(path):
        _remove(sftp, posixpath.join(path, name))
    sftp.rmdir(path)


def _told(entry: paramiko.SFTPAttributes, path: str | None) -> Any:
    folder = stat.S_ISDIR(entry.st_mode or 0)
    name = posixpath.join(path, entry.filename) if path else entry.filename
    return FileInfo(name, folder, None if folder else entry.st_size)
