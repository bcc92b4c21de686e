"""People who log all the time and remember every write that the server said it had kept."""

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import httpx

_PAUSE_SECONDS = 0.02
_EVERY = 25
"""Each so many metrics there is an artifact."""


@dataclass
class Writer:
    """One who logs to a run of their own.

    Attributes:
        url: of the server.
        login: name and password.
        trusts: the authorities of a server with TLS; None for the usual ones.
        patience: how long to wait for an answer, in seconds.
        metrics: the steps that were acknowledged.
        artifacts: name and content likewise.
        refused: how often a write was not acknowledged, by what came instead.
        acknowledged_at: when, by a clock that only counts.
    """

    url: str
    login: tuple[str, str]
    trusts: ssl.SSLContext | None = None
    patience: float = 30.0
    metrics: list[int] = field(default_factory=list)
    artifacts: dict[str, bytes] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    acknowledged_at: list[float] = field(default_factory=list)
    run: str = ""

    def begin(self) -> None:
        """Make the run; the server is up."""
        with self._client() as client:
            body = {"experiment_id": "0", "start_time": int(time.time() * 1000)}
            answer = client.post("/api/2.0/mlflow/runs/create", json=body)
            answer.raise_for_status()
            self.run = answer.json()["run"]["info"]["run_id"]

    def write_until(self, over: threading.Event) -> None:
        """Log until told to stop; what is not acknowledged is not tried again."""
        step = max(self.metrics, default=0)
        with self._client() as client:
            while not over.wait(_PAUSE_SECONDS):
                step += 1
                if step % _EVERY:
                    if self._heard(lambda at=step: self._log(client, at)):
                        self.metrics.append(step)
                else:
                    name, content = f"{step}.bin", f"{self.run} {step}\n".encode() * 200
                    if self._heard(lambda to=name, body=content: self._put(client, to, body)):
                        self.artifacts[name] = content

    def lost(self) -> list[str]:
        """Every write acknowledged until now that is not found; the server is up."""
        metrics, artifacts = list(self.metrics), dict(self.artifacts)
        with self._client() as client:
            found = set(self._history(client))
            gone = [f"metric {step} of run {self.run}" for step in metrics if step not in found]
            for name, content in artifacts.items():
                answer = client.get(self._place(name))
                if (answer.status_code, answer.content) != (200, content):
                    gone.append(f"artifact {name} of run {self.run}: {answer.status_code}")
        return gone

    def _history(self, client: httpx.Client) -> Iterator[int]:
        asked: dict[str, str | int] = {"run_id": self.run, "metric_key": "m", "max_results": 5000}
        while True:
            answer = client.get("/api/2.0/mlflow/metrics/get-history", params=asked)
            answer.raise_for_status()
            told = answer.json()
            for each in told.get("metrics", []):
                # Each value is its own step, so that a mixed-up one shows too.
                if each["value"] == int(each["step"]):
                    yield int(each["step"])
            if not told.get("next_page_token"):
                return
            asked["page_token"] = told["next_page_token"]

    def longest_wait(self, since: float) -> float:
        """The longest time without an acknowledged write, in seconds."""
        times = [since, *(at for at in self.acknowledged_at if at > since), time.monotonic()]
        return max(after - before for before, after in pairwise(times))

    def _heard(self, write: Callable[[], httpx.Response]) -> bool:
        try:
            answer = write()
        except httpx.HTTPError as error:
            what = type(error).__name__
        else:
            if answer.status_code == 200:
                self.acknowledged_at.append(time.monotonic())
                return True
            what = str(answer.status_code)
        self.refused[what] = self.refused.get(what, 0) + 1
        return False

    def _log(self, client: httpx.Client, step: int) -> httpx.Response:
        now = int(time.time() * 1000)
        body = {"run_id": self.run, "key": "m", "value": step, "step": step, "timestamp": now}
        return client.post("/api/2.0/mlflow/runs/log-metric", json=body)

    def _put(self, client: httpx.Client, name: str, content: bytes) -> httpx.Response:
        return client.put(self._place(name), content=content)

    def _place(self, name: str) -> str:
        return f"/api/2.0/mlflow-artifacts/artifacts/0/{self.run}/artifacts/{name}"

    def _client(self) -> httpx.Client:
        return httpx.Client(
            base_url=self.url,
            auth=self.login,
            verify=self.trusts or True,
            trust_env=False,
            timeout=self.patience,
        )


@contextmanager
def load(writers: list[Writer]) -> Iterator[None]:
    """Have them write side by side."""
    over = threading.Event()
    threads = [threading.Thread(target=each.write_until, args=(over,)) for each in writers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def wait_until_all_write(writers: list[Writer], seconds: float) -> None:
    """Wait until each has had a write acknowledged from now on."""
    now = time.monotonic()
    until = now + seconds
    while not all(each.acknowledged_at and each.acknowledged_at[-1] > now for each in writers):
        refused = [each.refused for each in writers]
        assert time.monotonic() < until, f"nobody can write for {seconds:.0f} s: {refused}"
        time.sleep(0.02)
