"""What a machine cannot reach for a while: only what needs it is refused; all is back by itself."""

import hashlib
from typing import Any

import httpx

from box.deployed import Box
from kits import eventually

NOTICE_SECONDS = 120.0
BACK_SECONDS = 120.0
SOON_SECONDS = 5.0


def test_without_its_bucket_runs_go_on_and_artifacts_are_refused_at_once(deployed: Box) -> None:
    logged = deployed.mlflow_client()
    cloud = deployed.machines.secured
    assert cloud is not None
    with deployed.machines.wires.away(cloud.address):

        def works_and_refuses_artifacts() -> bool:
            with deployed.client() as client:
                asked = {"experiment_id": "0", "start_time": 1}
                made = client.post("/api/2.0/mlflow/runs/create", json=asked)
                made.raise_for_status()
            assert deployed.has_run(made.json()["run"]["info"]["run_id"])
            return _soon(deployed, logged) == 503

        assert eventually(works_and_refuses_artifacts, NOTICE_SECONDS), deployed.console()
    assert eventually(lambda: _soon(deployed, logged) == 200, BACK_SECONDS), deployed.console()
    got = deployed.artifact(logged)
    assert hashlib.sha256(got.content).hexdigest() == logged["sent"]
    # The agent finds its store again too.
    password = deployed.people("add", "linus")
    assert deployed.status("linus", password) == 200
    deployed.people("remove", "linus")


def _soon(deployed: Box, logged: dict[str, Any]) -> int | None:
    """What a client gets that asks for an artifact; None when it would have to wait."""
    try:
        return deployed.artifact(logged, SOON_SECONDS).status_code
    except httpx.TimeoutException:
        return None
