"""What is stopped, by a person or by a power cut, comes back with all it held."""

import re

import pexpect
import pytest
from servers import ADA, Server, kill_all_in, processes_in

pytestmark = pytest.mark.filterwarnings("ignore:.*forkpty:DeprecationWarning")


@pytest.fixture
def run_id(rough: Server, ada: str) -> str:
    """A run that a user logged."""
    with rough.api(ADA, ada) as api:
        made = api.post("runs/create", json={"experiment_id": "0", "start_time": 1_700_000_000_000})
        return str(made.json()["run"]["info"]["run_id"])


def test_after_a_restart_of_the_computer_a_deploy_brings_back_runs_and_users(
    rough: Server, ada: str, run_id: str
) -> None:
    kill_all_in(rough.machine())
    assert rough.run("status", ok=False).returncode == 3
    rough.run("deploy", "local")
    assert _finds(rough, ada, run_id)


def test_destroy_asks_stops_everything_and_deploy_finds_it_again(
    rough: Server, ada: str, run_id: str
) -> None:
    terminal = rough.at_terminal("destroy")
    terminal.expect_exact("Type the environment's name to go ahead")
    shown = str(terminal.before)
    terminal.sendline("local")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert re.search(r"[1-9][0-9]* runs", shown), shown
    assert re.search(r"[0-9]+ registered models", shown), shown
    assert re.search(r"[0-9.]+ [kMG]?B stored", shown), shown
    assert re.search(r"last written 20[0-9-]+ [0-9:]+ UTC", shown), shown
    assert terminal.exitstatus == 0, terminal.before
    assert processes_in(rough.home) == []
    assert "Its data is kept" in rough.run("destroy", "--yes").stdout
    told = rough.json("list")
    assert isinstance(told, list)
    assert told[0]["state"] == "removed"
    rough.run("deploy", "local")
    assert _finds(rough, ada, run_id)


def test_destroy_with_a_wrong_name_changes_nothing(server: Server, ada: str) -> None:
    before = server.pids()
    terminal = server.at_terminal("destroy")
    terminal.expect_exact("Type the environment's name to go ahead")
    terminal.sendline("locla")
    shown = str(terminal.read())
    terminal.close()
    assert (terminal.exitstatus, "nothing was changed" in shown) == (2, True), shown
    assert (server.pids(), server.status_for(ADA, ada)) == (before, 200)


@pytest.mark.parametrize(
    ("arguments", "way_out"),
    [((), "--yes"), (("--purge",), "--confirm local"), (("--purge", "--yes"), "--confirm local")],
)
def test_destroy_without_a_terminal_names_the_flag_it_wants(
    server: Server, arguments: tuple[str, ...], way_out: str
) -> None:
    before = server.pids()
    done = server.run("destroy", *arguments, ok=False)
    assert (done.returncode, f"`{way_out}`" in done.stderr) == (2, True), done.stderr
    assert server.pids() == before


def test_destroy_that_confirms_another_name_changes_nothing(server: Server) -> None:
    before = server.pids()
    done = server.run("destroy", "--purge", "--confirm", "locla", ok=False)
    assert (done.returncode, server.pids()) == (2, before)


def _finds(server: Server, password: str, run_id: str) -> bool:
    with server.api(ADA, password) as api:
        return api.get("runs/get", params={"run_id": run_id}).status_code == 200
