"""The MLflow that serves now, asked over its own socket: no password is needed there."""

import http.client
import json
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from trackstack.agent import folders
from trackstack.agent.ensure_stores import parse
from trackstack.agent.machine import StepError, ask, connect
from trackstack.agent.models.registry import NO_SUCH_THING, Found, query_of

_API = "/api/2.0/mlflow"
_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
_PROXIED = "mlflow-artifacts:/"
_READ_SECONDS = 120.0
_MODEL = "MLmodel"
"""The file without which there is no model."""


class AwayError(StepError):
    """MLflow does not answer: what is served goes on as it is."""


def get(method: str, query: Mapping[str, str]) -> dict[str, Any] | None:
    """GET of a method of the API; None where MLflow says that there is no such thing.

    Raises:
        StepError: MLflow does not answer, or refuses.
    """
    unix_socket, host = _live()
    address = f"{_API}/{method}" + (f"?{query_of(query)}" if query else "")
    return _answer(ask(unix_socket, address, host=host))


def download(found: Found, folder: Path) -> None:
    """Have the files of a model in a new folder.

    Raises:
        StepError: they cannot be had.
    """
    for files in (found.files, *found.also):
        if not files.startswith(_PROXIED):
            raise StepError(f"its files are not on this server but at {files.partition(':')[0]}:")
        path = files.removeprefix(_PROXIED).lstrip("/")
        paths = list(_list(path, PurePosixPath()))
        if PurePosixPath(_MODEL) in paths:
            break
    else:
        raise StepError("there is no model at that place: no file MLmodel")
    shutil.rmtree(folder, ignore_errors=True)
    for file in paths:
        _fetch(f"{path}/{file}", folder / file)


def _list(root: str, inner: PurePosixPath) -> Iterator[PurePosixPath]:
    """Every file below a folder of the artifacts, by its path from there."""
    unix_socket, host = _live()
    query = query_of({"path": str(PurePosixPath(root) / inner)})
    answer = _answer(ask(unix_socket, f"{_ARTIFACTS}?{query}", host=host))
    for file in (answer or {}).get("files", []):
        name = str(file["path"])
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            raise StepError(f"one of its files has a name that no file can have: {name!r}")
        if file.get("is_dir"):
            yield from _list(root, inner / name)
        else:
            yield inner / name


def _fetch(path: str, to: Path) -> None:
    unix_socket, host = _live()
    to.parent.mkdir(parents=True, exist_ok=True)
    connection = http.client.HTTPConnection("localhost", timeout=_READ_SECONDS)
    try:
        connect(connection, unix_socket)
        connection.request("GET", f"{_ARTIFACTS}/{quote(path)}", headers={"Host": host})
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            raise StepError(f"MLflow answers {answer.status} for its file {to.name}")
        with to.open("wb") as file:
            shutil.copyfileobj(answer, file, 1 << 20)
        if answer.length:
            raise StepError(f"MLflow gave only a part of its file {to.name}")
    except http.client.HTTPException as error:
        raise StepError(f"MLflow does not give its file {to.name}: {error!r}") from error
    finally:
        connection.close()


def _answer(answered: tuple[int, str] | None) -> dict[str, Any] | None:
    if answered is None:
        raise AwayError("MLflow does not answer")
    status, text = answered
    if status == http.client.NOT_FOUND or _says(text, NO_SUCH_THING):
        return None
    if status != http.client.OK:
        raise StepError(f"MLflow answers {status} when asked for the model")
    try:
        return dict(json.loads(text))
    except ValueError as error:
        raise StepError("MLflow answers what is no JSON") from error


def _says(text: str, codes: Collection[str]) -> bool:
    try:
        return bool(json.loads(text)["error_code"] in codes)
    except (ValueError, KeyError, TypeError):
        return False


def _live() -> tuple[Path, str]:
    """The socket of the MLflow that serves now, and a Host that it answers to."""
    for settings in (folders.LIVE / "services").glob("mlflow-*.env"):
        hosts = parse(settings.read_text())["MLFLOW_SERVER_ALLOWED_HOSTS"]
        return folders.mlflow_socket(settings.stem), hosts.partition(",")[0]
    raise AwayError("no MLflow serves yet")
