"""What status, list, logs and open say, to people and to programs."""

import json
import subprocess
from pathlib import Path

import httpx
import pytest
from servers import ADA, Server, ended_after

from kits import eventually

LONG = "x" * 7000
"""A path of this length fills nginx's log fast."""


@pytest.mark.parametrize(
    "command",
    [
        "list",
        "status",
        "open",
        "users list",
        "plan local",
        "env",
        "verify --quick",
        "deploy local",
        "users add of.a.document --show-passwords",
        "render DIR",
    ],
)
def test_with_json_standard_output_is_one_document(
    server: Server, command: str, tmp_path: Path
) -> None:
    words = [str(tmp_path / "rendered") if word == "DIR" else word for word in command.split()]
    json.loads(server.run(*words, "--json").stdout)


def test_status_says_that_it_runs_and_that_a_login_can_read(server: Server) -> None:
    told = server.json("status")
    assert isinstance(told, dict)
    assert (told["state"], told["answers"], told["url"]) == ("running", True, server.url)


def test_status_tells_the_versions_that_run(server: Server) -> None:
    told = server.json("status")
    assert isinstance(told, dict)
    assert set(told["versions"]) == {"mlflow", "nginx", "python"}


def test_status_for_people_names_address_and_state(server: Server) -> None:
    lines = server.run("status").stdout.splitlines()
    words = dict(line.split(maxsplit=1) for line in lines if not line.startswith("last report"))
    assert (words["address"], words["state"]) == (server.url, "running")


def test_list_has_a_line_for_each_environment(server: Server) -> None:
    (line,) = server.run("list").stdout.splitlines()
    assert line.split() == ["local", "running", "local", server.url]


def test_open_without_a_terminal_only_says_the_address(server: Server) -> None:
    assert server.run("open").stdout.strip() == server.url


@pytest.mark.parametrize("service", ["mlflow", "agent"])
def test_a_service_has_a_log(server: Server, service: str) -> None:
    # An agent with nothing to complain of may have written nothing.
    done = server.run("logs", service, ok=service == "mlflow")
    assert done.stdout or service == "agent"


def test_nginx_s_log_tells_user_method_path_and_status_of_each_request(
    server: Server, ada: str
) -> None:
    httpx.delete(f"{server.url}/of-a-test", auth=(ADA, ada), trust_env=False)

    def logged() -> list[tuple[str, str, int]]:
        told = [json.loads(line) for line in server.run("logs", "nginx").stdout.splitlines()]
        seen = [each for each in told if each["path"] == "/of-a-test"]
        return [(each["user"], each["method"], each["status"]) for each in seen]

    # nginx writes it after the answer.
    assert eventually(lambda: logged() == [(ADA, "DELETE", 404)]), logged()


def test_nginx_s_log_does_not_hold_what_a_refused_person_typed(server: Server) -> None:
    httpx.get(f"{server.url}/", auth=("typed.by.mistake", "x"), trust_env=False)
    assert "typed.by.mistake" not in server.run("logs", "nginx").stdout


def test_logs_f_goes_on_after_nginx_s_log_was_rotated(server: Server) -> None:
    log = server.machine() / "logs" / "nginx.jsonl"
    first = log.stat().st_ino
    follower = server.start("logs", "nginx", "-f")
    try:
        with httpx.Client(base_url=server.url, trust_env=False) as anybody:
            anybody.get("/before")
            seen = _until(follower, "/before")
            while not _rotated(log, first):
                anybody.get(f"/{LONG}")
            anybody.get("/after")
            seen += _until(follower, "/after")
    finally:
        follower.kill()
        follower.communicate()
    rotated = [json.loads(line)["path"] for line in _all_lines(log)]
    followed = [json.loads(line)["path"] for line in seen]
    assert followed[followed.index("/before") :] == rotated[rotated.index("/before") :]


def _rotated(log: Path, first: int) -> bool:
    """Whether the log's first file is the older one now, and nginx has opened a new one."""
    older = log.with_name(f"{log.name}.1")
    return older.exists() and older.stat().st_ino == first and log.exists()


def _until(follower: "subprocess.Popen[str]", path: str) -> list[str]:
    """The lines that the follower prints, up to the one of a path."""
    seen = []
    assert follower.stdout is not None
    with ended_after(follower):
        for line in follower.stdout:
            seen.append(line)
            if f'"path":"{path}"' in line:
                return seen
    raise AssertionError(f"logs -f ended before it showed {path}")


def _all_lines(log: Path) -> list[str]:
    """The lines of a log and of the one before it."""
    older = log.with_name(f"{log.name}.1")
    return [*older.read_text().splitlines(), *log.read_text().splitlines()]
