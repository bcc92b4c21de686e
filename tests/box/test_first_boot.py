"""From a deploy to a verified server: the machine is a real Debian that boots."""

from box.deployed import Box, answering
from engine.world.aws import AwsWorld

PORTS = [*range(1, 1024), 5000, 5432, 8080]


def test_a_machine_that_boots_becomes_a_verified_server(deployed: Box) -> None:
    receipt = deployed.receipts()[0]
    assert [check for check in receipt["checks"] if not check["held"]] == []
    assert not receipt["from_machine"]
    seen = deployed.mlflow_client()
    assert seen["received"] == seen["sent"]
    assert seen["logged"] == [{"depth": "3"}, {"loss": 0.25}]
    assert seen["cloud"] == []


def test_only_who_is_let_in_can_connect_and_only_to_https(deployed: Box) -> None:
    address = deployed.machine.address
    listens = deployed.guest.run("ss -Hltn | awk '{print $4}' | sed 's/.*://'").split()
    ports = sorted({*PORTS, *map(int, listens)})
    assert 22 in ports, "nothing of what an image brings along listens"
    assert answering(deployed.inside, address, ports) == [443]
    assert answering(deployed.outside, address, ports) == []


def test_the_machine_ran_the_very_user_data_that_its_cloud_was_given(deployed: Box) -> None:
    ran = {
        "aws": "cat /var/lib/cloud/instance/user-data.txt",
        "gcp": "curl -sfH 'Metadata-Flavor: Google' "
        "http://metadata.google.internal/computeMetadata/v1/instance/attributes/startup-script",
    }
    (instance,) = [
        thing for thing in deployed.world.cloud.things.values() if thing.kind.endswith(".Instance")
    ]
    given = instance.inputs.get("userData") or instance.inputs["metadata"]["startup-script"]
    assert deployed.guest.run(ran[deployed.cloud]) == given


def test_the_machine_was_let_do_all_that_it_asked_for(deployed: Box) -> None:
    if isinstance(deployed.world, AwsWorld):
        calls = deployed.world.front.calls_of("-machine")
        assert calls
        # With a wrong clock, which another test gives it, it is refused whatever it may do.
        refused = {call.refused for call in calls if call.status == 403}
        assert refused <= {"", "RequestTimeTooSkewed"}
    else:
        assert deployed.world.calls
        assert [call for call in deployed.world.calls if not call[2]] == []
