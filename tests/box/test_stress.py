"""Clients that want too much: only what they ask of pays for it, and everybody else is served."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ssl import SSLSocket
from threading import Event
from urllib.parse import urlsplit

import httpx
import pytest

from box import crowd
from box.deployed import Box
from box.one_cloud import on_gcp
from kits import eventually

BACK_SECONDS = 60.0
EXHAUSTED_SECONDS = 90.0
GREEDY = 16
"""Clients at once: MLflow holds a body three times over, so these want 3 GB at least."""
BODY_BYTES = 63 << 20
"""Just below what nginx lets in."""
SLOW = 200
REQUESTS = 20


def test_a_machine_has_the_memory_of_its_type(deployed: Box) -> None:
    told = deployed.guest.run("free --bytes | awk '/^Mem:/ { print $2 }'")
    assert int(told) == deployed.guest.memory
    assert deployed.guest.memory_limit() == deployed.guest.memory


def services(box: Box) -> dict[str, str]:
    """The processes of all services but MLflow's, by their units; nginx's workers too."""
    shown = box.guest.run(
        "systemctl show --property Id,MainPID --type service --state running '*';"
        " echo Id=workers; echo MainPID=$(pgrep -u trackstack-nginx)"
    )
    found = dict(zip(values(shown, "Id"), values(shown, "MainPID"), strict=True))
    return {unit: pid for unit, pid in found.items() if not unit.startswith("trackstack-mlflow@")}


def values(shown: str, name: str) -> Iterator[str]:
    """Those of a property in what systemctl shows."""
    for line in shown.splitlines():
        key, _, value = line.partition("=")
        if key == name:
            yield value


@on_gcp
def test_who_makes_mlflow_take_all_memory_ends_mlflow_alone_and_it_is_back(deployed: Box) -> None:
    run = deployed.mlflow_client()["run"]
    before, killed = services(deployed), deployed.guest.out_of_memory()
    stay = ("trackstack.service", "trackstack-nginx.service", "ssh.service", "workers")
    assert set(stay) <= set(before)
    param = b'{"key":"k","value":"%s"}' % (b"x" * 6000)
    count = BODY_BYTES // (len(param) + 1)
    body = b'{"run_id":"%s","params":[%s]}' % (run.encode(), b",".join([param] * count))
    kind = {"Content-Type": "application/json"}
    enough = Event()

    def want_it_all() -> None:
        with deployed.client() as client:
            while not enough.is_set():
                with suppress(httpx.TransportError):
                    client.post("/api/2.0/mlflow/runs/log-batch", content=body, headers=kind)

    with ThreadPoolExecutor(GREEDY) as pool:
        greedy = [pool.submit(want_it_all) for _ in range(GREEDY)]
        try:
            exhausted = eventually(
                lambda: deployed.guest.out_of_memory() > killed, EXHAUSTED_SECONDS
            )
        finally:
            enough.set()
    for each in greedy:
        each.result()
    assert exhausted, f"{GREEDY} bodies of {len(body)} bytes at once did not take all memory"
    assert eventually(deployed.serves, BACK_SECONDS), deployed.console()
    now = services(deployed)
    assert {unit: now.get(unit) for unit in stay} == {unit: before[unit] for unit in stay}
    assert deployed.has_run(run)


def slow_posts(box: Box) -> list[str]:
    del box
    return [crowd.sending("POST", "/api/2.0/mlflow/runs/log-batch")] * SLOW


def slow_uploads(box: Box) -> list[str]:
    del box
    path = "/api/2.0/mlflow-artifacts/artifacts/slow"
    return [crowd.sending("PUT", f"{path}/{number}") for number in range(SLOW)]


def slow_downloads(box: Box) -> list[str]:
    folder = urlsplit(box.mlflow_client()["address"]).path
    return [crowd.asking(f"/api/2.0/mlflow-artifacts/artifacts{folder}/folder/sent.bin")] * SLOW


@on_gcp
@pytest.mark.parametrize(
    ("heads", "go_on"),
    [
        (slow_posts, crowd.send_a_byte),
        (slow_uploads, crowd.send_a_byte),
        (slow_downloads, crowd.read_a_byte),
    ],
)
def test_beside_200_slow_clients_others_read_log_runs_and_artifacts(
    deployed: Box,
    heads: Callable[[Box], list[str]],
    go_on: Callable[[Sequence[SSLSocket]], None],
) -> None:
    asked = {"experiment_id": "0", "start_time": 1}
    with crowd.holding(deployed, heads(deployed)) as slow, deployed.client() as other:
        for number in range(REQUESTS):
            go_on(slow)
            made = other.post("/api/2.0/mlflow/runs/create", json=asked)
            assert made.is_success, made.text
            info = made.json()["run"]["info"]
            found = other.get("/api/2.0/mlflow/runs/get", params={"run_id": info["run_id"]})
            assert found.is_success, found.text
            folder = urlsplit(info["artifact_uri"]).path
            place = f"/api/2.0/mlflow-artifacts/artifacts{folder}/{number}"
            assert other.put(place, content=b"beside").is_success
            assert other.get(place).content == b"beside"
        go_on(slow)
        assert len(slow) == SLOW
