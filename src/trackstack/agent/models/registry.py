"""Finds what a model's URI means now, by MLflow's REST API."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from trackstack.desired import Part, content_id

Ask = Callable[[str, Mapping[str, str]], dict[str, Any] | None]
"""GET of a method of the API, such as 'runs/get', with its query; None for 'there is none'."""

NO_SUCH_THING = frozenset({"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"})
"""MLflow's codes for that: the second for an alias that is not there, or a stage that cannot be."""

_NEWEST = "latest"


class Found(Part):
    """One version of a model.

    Attributes:
        version: what to call it: the registry's number, or the id of a run or logged model.
        files: where MLflow has its files: an artifact URI.
        also: where else to look, when no model is there: those of the run's logged models.
        created: tells it from another one of that name.
    """

    version: str
    files: str
    also: tuple[str, ...] = ()
    created: str = ""

    @property
    def id(self) -> str:
        """Names this version and no other."""
        return content_id(self.model_dump(mode="json"))


class NotFoundError(Exception):
    """MLflow has no such model; the text is a sentence without its full stop."""


def find(uri: str, ask: Ask) -> Found:
    """What a URI means now.

    Args:
        uri: of a ModelUri's form.
        ask: MLflow's API.

    Raises:
        NotFoundError: nothing is there.
    """
    kind, _, rest = uri.partition(":/")
    if kind == "runs":
        run, _, path = rest.partition("/")
        return _of_run(run, path, ask)
    if "@" in rest:
        name, _, alias = rest.rpartition("@")
        answer = ask("registered-models/alias", {"name": name, "alias": alias})
        if answer is None:
            raise NotFoundError(f"MLflow has no model {name!r} with the alias {alias!r}")
        return _version(answer["model_version"], ask)
    name, slash, which = rest.partition("/")
    if not slash:
        return _logged(name, ask)
    if which.isdecimal():
        answer = ask("model-versions/get", {"name": name, "version": which})
        if answer is None:
            raise NotFoundError(f"MLflow has no model {name!r} with a version {which}")
        return _version(answer["model_version"], ask)
    return _newest(name, which, ask)


def _newest(name: str, stage: str, ask: Ask) -> Found:
    query = {"name": name} if stage == _NEWEST else {"name": name, "stages": stage}
    answer = ask("registered-models/get-latest-versions", query)
    versions = (answer or {}).get("model_versions", [])
    if not versions:
        which = "version" if stage == _NEWEST else f"version in the stage {stage!r}"
        raise NotFoundError(f"MLflow has no model {name!r} with a {which}")
    return _version(max(versions, key=lambda version: int(version["version"])), ask)


def _version(version: Mapping[str, Any], ask: Ask) -> Found:
    name, number = version["name"], str(version["version"])
    query = {"name": name, "version": number}
    answer = ask("model-versions/get-download-uri", query)
    if answer is None:
        raise NotFoundError(f"version {number} of {name!r} is gone")
    created = str(version.get("creation_timestamp", ""))
    return Found(version=number, files=answer["artifact_uri"], created=created)


def _logged(model: str, ask: Ask) -> Found:
    answer = ask(f"logged-models/{model}", {})
    if answer is None:
        raise NotFoundError(f"MLflow has no logged model {model}")
    return Found(version=model, files=answer["model"]["info"]["artifact_uri"])


def _of_run(run: str, path: str, ask: Ask) -> Found:
    answer = ask("runs/get", {"run_id": run})
    if answer is None:
        raise NotFoundError(f"MLflow has no run {run}")
    # Since MLflow 3 a run's models lie apart from its other artifacts.
    outputs = answer["run"].get("outputs", {}).get("model_outputs", [])
    models = (ask(f"logged-models/{each['model_id']}", {}) for each in outputs)
    infos = [model["model"]["info"] for model in models if model is not None]
    also = tuple(info["artifact_uri"] for info in infos if info.get("name") == path)
    files = f"{answer['run']['info']['artifact_uri']}/{path}"
    return Found(version=run, files=files, also=also)


def query_of(values: Mapping[str, str]) -> str:
    """A query as it stands in an address."""
    return urlencode(values)
