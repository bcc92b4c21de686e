"""The machines of these tests leave nothing on the host that runs them."""

from pathlib import Path

from machines import processes_in, running_machine

from kits import eventually


def test_a_machine_that_ended_left_no_process_mount_or_file(tmp_path: Path) -> None:
    with running_machine("bookworm", tmp_path) as machine:
        space = Path(f"/proc/{machine.first_process}/ns/pid").readlink()
        machine.run("setsid sleep infinity </dev/null >/dev/null 2>&1 &")
        # setsid becomes it, some moments later.
        assert eventually(lambda: machine.processes() == ["sleep infinity"]), machine.processes()

    assert not list(processes_in(space))
    assert str(tmp_path) not in Path("/proc/mounts").read_text()
    assert not list(tmp_path.iterdir())
