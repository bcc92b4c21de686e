"""A machine whose clock is days off: who is let in gets in, and commands say what is wrong."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from box.clock import wrong_clock
from box.deployed import NAME, USER, Box
from box.one_cloud import on_aws
from engine.world.aws import AwsWorld
from kits import eventually

BACK_SECONDS = 60.0
REFUSED_SECONDS = 90.0
"""An idle agent reports every minute."""
SKEWED = "RequestTimeTooSkewed"


def off_by(box: Box) -> timedelta:
    """How far the machine's clock is ahead, to the hour, by what it answers to a login."""
    with box.client() as client:
        answer = client.get("/livez")
    there = parsedate_to_datetime(answer.headers["Date"])
    return timedelta(hours=round((there - datetime.now(UTC)) / timedelta(hours=1)))


# AWS looks at the clock of who signs; Google Cloud does not.
@on_aws
def test_with_the_clock_two_days_off_logins_hold_and_commands_say_that_it_is_the_clock(
    deployed: Box,
) -> None:
    assert isinstance(deployed.world, AwsWorld)
    front = deployed.world.front
    with wrong_clock(deployed.guest) as put:
        assert eventually(deployed.serves, BACK_SECONDS), deployed.console()
        for days, told in ((2, "2880 minutes ahead of"), (-2, "2880 minutes behind")):
            calls = len(front.calls)
            put(f"{days:+}d")
            assert eventually(lambda d=days: off_by(deployed) == timedelta(days=d)), "not off"
            assert deployed.status() == 200
            assert deployed.status(password="another") in {401, 429}
            failed = deployed.laptop.run("verify", "-e", NAME, ok=False)
            assert failed.returncode == 3, failed.stderr
            assert f"is {told} this computer's" in failed.stderr

            def refused(since: int = calls) -> bool:
                asked = front.calls[since:]
                return any("-machine" in c.who and c.refused == SKEWED for c in asked)

            assert eventually(refused, REFUSED_SECONDS), "AWS lets in a machine with a wrong clock"
            asked = {"experiment_id": "0", "start_time": 1}
            with deployed.client() as client:
                assert client.post("/api/2.0/mlflow/runs/create", json=asked).is_success
                lost = client.put("/api/2.0/mlflow-artifacts/artifacts/late", content=b"late")
            assert lost.is_server_error, lost.text
        put("+0d")
        # The machine hears again.
        password = deployed.people("add", "late")
        assert deployed.status("late", password) == 200
        deployed.people("remove", "late")
    assert eventually(deployed.serves, BACK_SECONDS), deployed.console()
    assert deployed.status(USER) == 200
