"""MLflow's REST API, as far as the kit needs it. The kit never imports MLflow."""

import json
import ssl
from collections.abc import Collection, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from trackstack.errors import NotProvenError

_API = "/api/2.0/mlflow"
_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
_PAGE = 1000
_CHUNK = 1 << 20


class TrackingError(NotProvenError):
    """MLflow, or what stands before it, refused a request.

    Attributes:
        status: the HTTP status, or None when nothing answered.
        code: MLflow's word for the kind of error, or None.
    """

    def __init__(self, sentence: str, status: int | None = None, code: str | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.code = code


def http_client(
    url: str, authorities: Path | None, login: tuple[str, str] | None = None
) -> httpx.Client:
    """A client of one server.

    Args:
        url: its address.
        authorities: certificates to trust instead of the system's, for a server with its own.
        login: name and password; none for a stranger.
    """
    # Without TLS nobody need be trusted, and reading the system's authorities takes longer than
    # a request.
    context = (
        ssl.create_default_context(cafile=authorities)
        if url.startswith("https:")
        else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    )
    # No proxy and no .netrc of this shell comes between the kit and the server.
    return httpx.Client(
        base_url=url,
        auth=login,
        verify=context,
        trust_env=False,
        timeout=httpx.Timeout(10, read=60),
    )


class Tracking:
    """One server, as one user sees it. Errors are TrackingError."""

    def __init__(self, url: str, user: str, password: str, authorities: Path | None = None) -> None:
        self._http = http_client(url, authorities, (user, password))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def read(self) -> None:
        """Ask for one experiment: proves login, MLflow and its database."""
        self._call("POST", "experiments/search", {"max_results": 1})

    def experiment(self, name: str) -> dict[str, Any] | None:
        """An experiment by name, deleted or not, or None."""
        try:
            found = self._call("GET", "experiments/get-by-name", query={"experiment_name": name})
        except TrackingError as error:
            if error.status == httpx.codes.NOT_FOUND:
                return None
            raise
        return dict(found["experiment"])

    def create_experiment(self, name: str) -> str:
        """Make an experiment and return its id."""
        return str(self._call("POST", "experiments/create", {"name": name})["experiment_id"])

    def restore_experiment(self, experiment: str) -> None:
        """Take back the deletion of an experiment and its runs."""
        self._call("POST", "experiments/restore", {"experiment_id": experiment})

    def delete_experiment(self, experiment: str) -> None:
        """Mark an experiment and its runs as deleted."""
        self._call("POST", "experiments/delete", {"experiment_id": experiment})

    def create_run(self, experiment: str, name: str, start_ms: int) -> dict[str, Any]:
        """Start a run and return its info: run_id, artifact_uri and more."""
        body = {"experiment_id": experiment, "run_name": name, "start_time": start_ms}
        return dict(self._call("POST", "runs/create", body)["run"]["info"])

    def run(self, run: str) -> dict[str, Any]:
        """A run: its info, and its data with params and metrics."""
        return dict(self._call("GET", "runs/get", query={"run_id": run})["run"])

    def tag_run(self, run: str, key: str, value: str) -> None:
        """Put a tag on a run."""
        self._call("POST", "runs/set-tag", {"run_id": run, "key": key, "value": value})

    def log_metrics(self, run: str, key: str, values: list[float], at_ms: int) -> None:
        """Log the history of one metric, one step a value, at most 1,000."""
        metrics = [
            {"key": key, "value": value, "timestamp": at_ms, "step": step}
            for step, value in enumerate(values)
        ]
        self._call("POST", "runs/log-batch", {"run_id": run, "metrics": metrics})

    def metrics(self, run: str, key: str) -> list[float]:
        """The history of one metric, in the order of its steps."""
        query = {"run_id": run, "metric_key": key, "max_results": "25000"}
        history = self._call("GET", "metrics/get-history", query=query).get("metrics", [])
        ordered = sorted(history, key=lambda metric: int(metric.get("step", 0)))
        return [float(metric["value"]) for metric in ordered]

    def runs(self, experiment: str) -> Iterator[dict[str, Any]]:
        """Every run of an experiment, deleted or not."""
        return self._pages(
            "runs/search", "runs", {"experiment_ids": [experiment], "run_view_type": "ALL"}
        )

    def delete_run(self, run: str) -> None:
        """Mark a run as deleted."""
        self._call("POST", "runs/delete", {"run_id": run})

    def create_model(self, experiment: str, run: str, name: str) -> str:
        """Make a logged model of a run and return its id."""
        body = {"experiment_id": experiment, "name": name, "source_run_id": run}
        return str(self._call("POST", "logged-models", body)["model"]["info"]["model_id"])

    def models(self, experiment: str) -> Iterator[dict[str, Any]]:
        """The infos of an experiment's logged models that are not deleted."""
        found = self._pages("logged-models/search", "models", {"experiment_ids": [experiment]}, 50)
        return (model["info"] for model in found)

    def delete_model(self, model: str) -> None:
        """Mark a logged model as deleted."""
        self._call("DELETE", f"logged-models/{model}")

    def register(self, name: str, run: str, source: str) -> str:
        """Register a model, make its first version and return that version."""
        self._call("POST", "registered-models/create", {"name": name})
        body = {"name": name, "source": source, "run_id": run}
        return str(self._call("POST", "model-versions/create", body)["model_version"]["version"])

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Point an alias of a registered model at a version."""
        body = {"name": name, "alias": alias, "version": version}
        self._call("POST", "registered-models/alias", body)

    def version_of_alias(self, name: str, alias: str) -> str:
        """The version an alias points at."""
        query = {"name": name, "alias": alias}
        found = self._call("GET", "registered-models/alias", query=query)
        return str(found["model_version"]["version"])

    def registered(self, like: str | None = None) -> Iterator[dict[str, Any]]:
        """Registered models; with `like`, those whose name matches that SQL pattern."""
        query = {"max_results": str(_PAGE)} | ({"filter": f"name LIKE '{like}'"} if like else {})
        token = ""
        while True:
            page = self._call(
                "GET",
                "registered-models/search",
                query=query | ({"page_token": token} if token else {}),
            )
            yield from page.get("registered_models", [])
            token = page.get("next_page_token", "")
            if not token:
                return

    def get(
        self, method: str, query: dict[str, str], none: Collection[str]
    ) -> dict[str, Any] | None:
        """GET of a method of the API, such as 'runs/get'; None where there is no such thing.

        Args:
            method: of the API, below its root.
            query: its parameters.
            none: MLflow's codes that say so, besides the status 404.
        """
        try:
            return dict(self._call("GET", method, query=query))
        except TrackingError as error:
            if error.code in none or error.status == httpx.codes.NOT_FOUND:
                return None
            raise

    def unregister(self, name: str) -> None:
        """Remove a registered model and its versions for good."""
        self._call("DELETE", "registered-models/delete", {"name": name})

    def upload(self, path: str, chunks: Iterator[bytes]) -> None:
        """Upload an artifact through the proxy.

        Args:
            path: below the artifact root, such as '1/RUN/artifacts/model.bin'.
            chunks: its content.
        """
        self._send("PUT", f"{_ARTIFACTS}/{path}", content=chunks)

    def download(self, path: str) -> Iterator[bytes]:
        """An artifact's content through the proxy, in chunks."""
        try:
            with self._http.stream("GET", f"{_ARTIFACTS}/{path}") as answer:
                if answer.is_error:
                    raise _refused("GET", "the artifact", answer.status_code)
                yield from answer.iter_bytes(_CHUNK)
        except httpx.HTTPError as error:
            raise _silent(self._http.base_url, error) from error

    def all_runs(self, most: int) -> list[dict[str, Any]]:
        """Infos of runs that are not deleted, of every experiment, the newest first.

        Args:
            most: how many at the most; counting a million would take minutes.
        """
        experiments = [
            found["experiment_id"] for found in self._pages("experiments/search", "experiments", {})
        ]
        if not experiments:
            return []
        body = {"experiment_ids": experiments, "order_by": ["attributes.start_time DESC"]}
        found: list[dict[str, Any]] = []
        for run in self._pages("runs/search", "runs", body):
            found.append(run["info"])
            if len(found) == most:
                break
        return found

    def _pages(
        self, method: str, key: str, body: dict[str, Any], page_size: int = _PAGE
    ) -> Iterator[dict[str, Any]]:
        token = ""
        while True:
            asked = {**body, "max_results": page_size} | ({"page_token": token} if token else {})
            page = self._call("POST", method, asked)
            yield from page.get(key, [])
            token = page.get("next_page_token", "")
            if not token:
                return

    def _call(
        self, verb: str, method: str, body: Any = None, query: dict[str, str] | None = None
    ) -> Any:
        answer = self._send(verb, f"{_API}/{method}", json=body, params=query)
        try:
            return answer.json()
        except ValueError as error:
            raise TrackingError(
                f"{self._http.base_url} answers, and not as MLflow does.", answer.status_code
            ) from error

    def _send(self, verb: str, path: str, **content: Any) -> httpx.Response:
        try:
            answer = self._http.request(verb, path, **content)
        except httpx.HTTPError as error:
            raise _silent(self._http.base_url, error) from error
        if not answer.is_success:
            raise _refused(verb, path, answer.status_code, answer.text)
        return answer


def _silent(url: httpx.URL, error: httpx.HTTPError) -> TrackingError:
    return TrackingError(f"{url} does not answer: {str(error) or type(error).__name__}.")


def _refused(verb: str, path: str, status: int, text: str = "") -> TrackingError:
    told = " ".join(text.split())[:200]
    return TrackingError(
        f"{verb} {path} was refused with {status}{f': {told}' if told else ''}.",
        status,
        _error_code(text),
    )


def _error_code(text: str) -> str | None:
    try:
        return str(json.loads(text)["error_code"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
