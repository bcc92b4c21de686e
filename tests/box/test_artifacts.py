"""A large artifact, by MLflow's own client on another host."""

from box.deployed import Box

MEGABYTES = {"aws": 2048, "gcp": 256}
"""On one cloud as much as the machine has memory; on the other, enough for many parts: what passes
them on is the same program."""


def test_a_large_artifact_comes_back_as_it_was_and_fits_into_the_machine_s_memory(
    deployed: Box,
) -> None:
    ended = deployed.guest.out_of_memory()
    logged = deployed.mlflow_client(MEGABYTES[deployed.cloud])
    assert logged["received"] == logged["sent"]
    assert deployed.guest.out_of_memory() == ended
    assert deployed.serves()
    # A copy of the disk, as the next power cut makes one, need not hold what passed through it.
    deployed.guest.run("fstrim /var/lib/trackstack")
