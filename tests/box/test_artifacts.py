"""A large artifact, by MLflow's own client on another host."""

from box.deployed import Box

MEGABYTES = 2048


def test_an_artifact_of_2_gb_comes_back_as_it_was_and_fits_into_the_machine_s_memory(
    deployed: Box,
) -> None:
    ended = deployed.guest.out_of_memory()
    logged = deployed.mlflow_client(MEGABYTES)
    assert logged["received"] == logged["sent"]
    assert deployed.guest.out_of_memory() == ended
    assert deployed.serves()
    # A copy of the disk, as the next power cut makes one, need not hold what passed through it.
    deployed.guest.run("fstrim /var/lib/trackstack")
