"""What a machine cannot reach for a while: only what needs it waits, and all is back by itself."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

from box.deployed import Box
from kits import eventually

NOTICED = (
    "(journalctl --output cat; cat /var/lib/trackstack/machine/logs/agent.log*)"
    " | grep -c 'the control store is away' || true"
)
"""How often the agent said so, wherever its words go."""
NOTICE_SECONDS = 120.0
ARTIFACTS = 5


def test_without_its_bucket_people_log_in_and_log_runs_and_artifacts_wait_for_it(
    deployed: Box,
) -> None:
    logged = deployed.mlflow_client()
    cloud = deployed.machines.secured
    assert cloud is not None
    noticed = int(deployed.guest.run(NOTICED).split()[-1])
    asked = {"experiment_id": "0", "start_time": 1}
    with ThreadPoolExecutor(ARTIFACTS) as pool:
        with deployed.machines.wires.away(cloud.address):
            waiting = [pool.submit(deployed.artifact, logged) for _ in range(ARTIFACTS)]

            def works_and_agent_notices() -> bool:
                with deployed.client() as client:
                    made = client.post("/api/2.0/mlflow/runs/create", json=asked)
                    made.raise_for_status()
                assert deployed.has_run(made.json()["run"]["info"]["run_id"])
                return int(deployed.guest.run(NOTICED).split()[-1]) > noticed

            assert eventually(works_and_agent_notices, NOTICE_SECONDS), "the agent did not notice"
            assert [each for each in waiting if each.done()] == [], "the bucket was not away"
        got = {hashlib.sha256(each.result().content).hexdigest() for each in waiting}
    assert got == {logged["sent"]}
    # The agent finds its store again too.
    password = deployed.people("add", "linus")
    assert deployed.status("linus", password) == 200
    deployed.people("remove", "linus")
