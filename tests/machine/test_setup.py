"""What `make setup` does to a machine that has an owner: nothing it was not asked for."""

from collections.abc import Callable

from machines import Machine

POLICY = "/usr/sbin/policy-rc.d"
OWNERS_POLICY = "#!/bin/sh\n# the owner's own\nexit 101\n"


def test_what_the_owner_decided_about_services_is_as_before(
    start_machine: Callable[[str], Machine],
) -> None:
    machine = start_machine("bookworm")
    checkout = machine.copy_checkout_for("root")
    machine.file(POLICY).write_text(OWNERS_POLICY)
    machine.file(POLICY).chmod(0o755)
    machine.run("apt-get update && apt-get install --yes --no-install-recommends nginx")
    assert machine.starts_at_boot("nginx")

    machine.run(f"cd {checkout} && sh make/apt-install.sh python3-venv")

    assert machine.starts_at_boot("nginx")
    assert machine.file(POLICY).read_text() == OWNERS_POLICY


def test_a_run_that_was_killed_is_put_right_by_the_next(
    start_machine: Callable[[str], Machine],
) -> None:
    machine = start_machine("bookworm")
    checkout = machine.copy_checkout_for("root")
    machine.file(POLICY).write_text(OWNERS_POLICY)
    machine.file(POLICY).chmod(0o755)
    # The first package manager it calls kills its caller, which can then clean up nothing.
    killer = machine.file("/usr/local/bin/apt-get")
    killer.write_text("#!/bin/sh\nkill -KILL $PPID\n")
    killer.chmod(0o755)
    assert machine.attempt(f"cd {checkout} && sh make/apt-install.sh nginx").returncode
    assert machine.file(POLICY).read_text() != OWNERS_POLICY
    killer.unlink()

    machine.run(f"cd {checkout} && sh make/apt-install.sh nginx")

    assert machine.file(POLICY).read_text() == OWNERS_POLICY
    assert not machine.starts_at_boot("nginx")
