"""MLflow's artifacts on an SFTP server: a key, a pinned host key, connections that come back.

MLflow's own way needs pysftp, which nobody has looked after since 2016, and keeps connections that
a restart of the SFTP server ends for good.
"""

import asyncio
import os
import posixpath
import stat
from collections.abc import AsyncIterable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, LifoQueue
from secrets import token_hex
from socket import socket
from typing import Any, BinaryIO, TypeVar
from urllib.parse import urlsplit

import paramiko
from mlflow.entities import FileInfo
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, TEMPORARILY_UNAVAILABLE
from mlflow.store.artifact.artifact_repo import ArtifactRepository, StreamUploadMixin

_KEY = "/run/secrets/sftp-key"
_KNOWN_HOSTS = "/run/secrets/known-hosts"
_BEGUN = ".new"
"""How a name ends while its file is being written."""
_CONNECT_SECONDS = 5
_SILENCE_SECONDS = 60
_REQUEST = 255 * 1024
"""Bytes of a file in one message: the most that OpenSSH says it takes, by limits@openssh.com."""
_BLOCK = 4 * _REQUEST
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
"""They prove what they encrypt. With others Python computes a proof besides, for as long again."""
_KEPT = 8
"""Idle connections; each is a process on the server."""

T = TypeVar("T")


class Artifacts(StreamUploadMixin, ArtifactRepository):  # type: ignore[misc]  # MLflow is not there to type checkers
    """A folder of an SFTP server, as sftp://USER@HOST:PORT/FOLDER."""

    def __init__(
        self, artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None
    ) -> None:
        super().__init__(artifact_uri, tracking_uri, registry_uri)
        self._place = urlsplit(artifact_uri)
        self._idle: LifoQueue[paramiko.SFTPClient] = LifoQueue(_KEPT)

    def log_artifact_from_stream(
        self, stream: BinaryIO, artifact_file_name: str, artifact_path: str | None = None
    ) -> None:
        """Put what can be read into a folder; whoever looks there sees all of it or nothing."""
        upload = self._begin(artifact_file_name, artifact_path)
        try:
            while block := stream.read(_BLOCK):
                upload.write(block)
            self._end(upload)
        except BaseException:
            self._give_up(upload)
            raise

    async def log_artifact_from_async_stream(
        self,
        chunks: AsyncIterable[bytes],
        artifact_file_name: str,
        artifact_path: str | None = None,
    ) -> None:
        """Put what arrives into a folder, likewise."""
        upload = await asyncio.to_thread(self._begin, artifact_file_name, artifact_path)
        try:
            block = bytearray()
            async for chunk in chunks:
                block += chunk
                if len(block) >= _BLOCK:
                    await asyncio.to_thread(upload.write, bytes(block))
                    block.clear()
            await asyncio.to_thread(upload.write, bytes(block))
            await asyncio.to_thread(self._end, upload)
        except BaseException:
            await asyncio.to_thread(self._give_up, upload)
            raise

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        """Put a file into a folder, likewise."""
        with Path(local_file).open("rb") as file:
            self.log_artifact_from_stream(file, Path(local_file).name, artifact_path)

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
        try:
            self._ask(lambda sftp: sftp.get(self._path(remote_file_path), local_path))
        except FileNotFoundError as error:
            # MLflow's client asks for what may not be there, and waits minutes at another error.
            raise MlflowException(
                f"No such artifact: '{remote_file_path}'", error_code=RESOURCE_DOES_NOT_EXIST
            ) from error

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        """Remove a file, or a folder with all that is in it."""
        self._ask(lambda sftp: _remove(sftp, self._path(artifact_path)))

    def _path(self, inner: str | None) -> str:
        return posixpath.join(self._place.path, inner) if inner else self._place.path

    def _begin(self, name: str, artifact_path: str | None) -> "_Upload":
        folder = self._path(artifact_path)
        # Of this upload alone: another of the same name may be under way.
        begun = posixpath.join(folder, f".{token_hex(8)}{_BEGUN}")

        def make(sftp: paramiko.SFTPClient) -> paramiko.SFTPFile:
            _make_folder(sftp, folder)
            return sftp.open(begun, "wb")

        sftp, kept = self._connection()
        try:
            file = make(sftp)
        except (OSError, EOFError, paramiko.SSHException):
            _close(sftp)
            if not kept:
                raise
            sftp = self._connect()
            file = make(sftp)
        file.MAX_REQUEST_SIZE = _REQUEST
        # Not each time is waited for the answer: `_end` looks whether all has arrived.
        file.set_pipelined(True)
        return _Upload(sftp, file, begun, posixpath.join(folder, name))

    def _end(self, upload: "_Upload") -> None:
        upload.file.close()
        arrived = upload.sftp.stat(upload.begun).st_size
        if arrived != upload.size:
            # paramiko passes over the answers to what was written last.
            raise MlflowException(
                f"The SFTP server with the artifacts took {arrived} of {upload.size} bytes: "
                "its disk may be full."
            )
        upload.sftp.posix_rename(upload.begun, upload.name)
        self._keep(upload.sftp)

    def _give_up(self, upload: "_Upload") -> None:
        _close(upload.sftp)
        with suppress(OSError, EOFError, paramiko.SSHException, MlflowException):
            self._ask(lambda sftp: sftp.remove(upload.begun))

    def _ask(self, work: Callable[[paramiko.SFTPClient], T]) -> T:
        """Do something on a connection; once more on another one when a kept one has ended."""
        while True:
            sftp, kept = self._connection()
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

    def _connection(self) -> tuple[paramiko.SFTPClient, bool]:
        """An idle connection and True, or a new one and False."""
        try:
            return self._idle.get_nowait(), True
        except Empty:
            return self._connect(), False

    def _connect(self) -> paramiko.SFTPClient:
        client = paramiko.SSHClient()
        # A host whose key is not in there is refused.
        client.load_host_keys(_KNOWN_HOSTS)
        try:
            client.connect(
                self._place.hostname or "",
                self._place.port or 22,
                self._place.username,
                key_filename=_KEY,
                allow_agent=False,
                look_for_keys=False,
                transport_factory=_transport,
                timeout=_CONNECT_SECONDS,
                banner_timeout=_CONNECT_SECONDS,
                auth_timeout=_CONNECT_SECONDS,
            )
            sftp = client.open_sftp()
        except (OSError, EOFError, paramiko.SSHException) as error:
            client.close()
            raise MlflowException(
                f"The SFTP server with the artifacts does not let this server in: {error}",
                error_code=TEMPORARILY_UNAVAILABLE,
            ) from error
        sftp.get_channel().settimeout(_SILENCE_SECONDS)
        # Only the client would end the connection when it is forgotten.
        sftp.client = client
        return sftp

    def _keep(self, sftp: paramiko.SFTPClient) -> None:
        if self._idle.full():
            _close(sftp)
        else:
            self._idle.put(sftp)


@dataclass
class _Upload:
    """A file under way, with the connection it goes over, and how much of it was sent."""

    sftp: paramiko.SFTPClient
    file: paramiko.SFTPFile
    begun: str
    name: str
    size: int = 0

    def write(self, block: bytes) -> None:
        self.file.write(block)
        self.size += len(block)


def _transport(connection: socket, **options: Any) -> paramiko.Transport:
    transport = paramiko.Transport(connection, **options)
    transport.get_security_options().ciphers = _CIPHERS
    return transport


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
