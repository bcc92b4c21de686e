"""Clients that want too much: only what they ask of pays for it, and everybody else is served."""

from box.deployed import Box


def test_a_machine_has_the_memory_of_its_type(deployed: Box) -> None:
    told = deployed.guest.run("free --bytes | awk '/^Mem:/ { print $2 }'")
    assert int(told) == deployed.guest.memory
    assert deployed.guest.memory_limit() == deployed.guest.memory
