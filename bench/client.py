"""A client as thin as can be, so that what is measured is the server: one kept connection."""

import base64
import http.client
import json
import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

API = "/api/2.0/mlflow"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Login:
    """A name and its password, both empty where no login is asked for."""

    user: str = ""
    password: str = ""

    @property
    def header(self) -> str:
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


@dataclass(frozen=True)
class Place:
    """Where a server answers.

    Attributes:
        path: its unix socket, if it is not on TCP.
        authorities: what to trust, for one with TLS.
    """

    host: str
    port: int
    path: Path | None = None
    authorities: Path | None = None


class Client:
    """One kept connection to a server."""

    def __init__(self, place: Place, login: Login) -> None:
        self._place = place
        self._headers = {"Content-Type": "application/json"}
        if login.user:
            self._headers["Authorization"] = login.header
        self._connection = self._connect()

    def _connect(self) -> http.client.HTTPConnection:
        place = self._place
        if place.authorities is not None:
            context = ssl.create_default_context(cafile=place.authorities)
            return http.client.HTTPSConnection(place.host, place.port, context=context, timeout=120)
        connection = http.client.HTTPConnection(place.host, place.port, timeout=120)
        if place.path is not None:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(str(place.path))
        return connection

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def status(self, method: str, path: str, body: Any = None) -> int:
        """The status of one request."""
        return self._send(method, path, None if body is None else json.dumps(body).encode())[0]

    def call(self, method: str, name: str, body: Any = None) -> Any:
        """One call of MLflow's API; any status but 200 is a ValueError."""
        path = f"{API}/{name}"
        status, answer = self._send(
            method, path, None if body is None else json.dumps(body).encode()
        )
        if status != http.client.OK:
            raise ValueError(f"{method} {path} was answered with {status}")
        return json.loads(answer)

    def search(self) -> None:
        """The cheapest question that reaches the database."""
        self.call("POST", "experiments/search", {"max_results": 1})

    def newest_runs(self, experiment: str, most: int) -> list[Any]:
        """What the page of an experiment shows first."""
        body = {
            "experiment_ids": [experiment],
            "max_results": most,
            "order_by": ["attributes.start_time DESC"],
        }
        found: list[Any] = self.call("POST", "runs/search", body).get("runs", [])
        return found

    def new_experiment(self, name: str) -> str:
        """Make an experiment and return its id."""
        return str(self.call("POST", "experiments/create", {"name": name})["experiment_id"])

    def new_run(self, experiment: str = "0") -> str:
        """Start a run, in the default experiment unless told, and return its id."""
        body = {"experiment_id": experiment, "start_time": time.time_ns() // 1_000_000}
        return str(self.call("POST", "runs/create", body)["run"]["info"]["run_id"])

    def log_metric(self, run: str, step: int) -> None:
        """Log one value."""
        body = {"run_id": run, "key": "loss", "value": 0.5, "timestamp": step, "step": step}
        self.call("POST", "runs/log-metric", body)

    def log_metrics(self, run: str, keys: int, steps: int) -> None:
        """Log a value of each of so many keys at each of so many steps, at once."""
        metrics = [
            {"key": f"metric-{key}", "value": step / steps, "timestamp": step, "step": step}
            for key in range(keys)
            for step in range(steps)
        ]
        self.call("POST", "runs/log-batch", {"run_id": run, "metrics": metrics})

    def upload(self, path: str, content: bytes) -> float:
        """Send an artifact; the seconds it took."""
        began = time.perf_counter()
        status, _ = self._send("PUT", f"{ARTIFACTS}/{path}", content)
        if status != http.client.OK:
            raise ValueError(f"the upload was answered with {status}")
        return time.perf_counter() - began

    def download(self, path: str, size: int) -> float:
        """Fetch an artifact of a known size; the seconds it took."""
        began = time.perf_counter()
        self._connection.request("GET", f"{ARTIFACTS}/{path}", headers=self._headers)
        answer = self._connection.getresponse()
        buffer = bytearray(_CHUNK)
        received = 0
        while count := answer.readinto(buffer):
            received += count
        if received != size:
            raise ValueError(f"{received} of {size} bytes came")
        return time.perf_counter() - began

    def _send(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        self._connection.request(method, path, body, self._headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()
