"""The units that the agent speaks of are those that exist, and that polkit lets it start."""

import re
from pathlib import Path

import pytest

from trackstack import bundle
from trackstack.agent.systemd import give, unit

UNITS = bundle.templates() / "systemd"


@pytest.mark.parametrize("service", ["nginx", "mlflow-0a1b2c3d", "models"])
def test_a_service_has_a_unit_which_runs_its_start_script(service: str) -> None:
    template = UNITS / re.sub(r"@\w+", "@", unit(service))
    instance = service.rpartition("-")[2]
    started = re.search(
        r"^ExecStart=/bin/sh (?:-c 'exec sh )?(\S+\.sh)\b", template.read_text(), re.M
    )
    assert started
    assert started[1].replace("%i", instance) == f"services/{service}.sh"


def test_no_unit_has_systemd_open_a_file_as_root() -> None:
    opens = re.compile(r"^Standard\w+=(append|file|truncate):", re.M)
    units = [*UNITS.glob("trackstack*.service"), UNITS / "walls.conf"]
    assert len(units) == 6
    assert [each.name for each in units if opens.search(each.read_text())] == []


def _rule(what: str) -> re.Pattern[str]:
    text = (UNITS / "trackstack.rules").read_text()
    found = re.search(rf'/(\S+)/\.test\(action\.lookup\("{what}"\)\)', text)
    assert found
    return re.compile(found[1])


def test_the_rule_lets_the_agent_at_its_own_services_only() -> None:
    units = _rule("unit")
    for service in ("nginx", "mlflow-0a1b2c3d", "models", "model-churn.0a1b2c3d"):
        assert units.search(unit(service))
    for other in (
        "ssh.service",
        "trackstack.service",
        "nginx.service",
        "trackstack-nginx.service.d",
        "x-trackstack-nginx.service",
        "trackstack-mlflow@.service",
        "trackstack-mlflow@0a1b2c3.service",
        "trackstack-mlflow@0a1b2c3d/../x.service",
        "trackstack-model@.service",
        "trackstack-model@churn.service",
        "trackstack-modelsx.service",
    ):
        assert not units.search(other), other
    verbs = _rule("verb")
    assert [v for v in ("start", "stop", "reload", "reset-failed") if not verbs.search(v)] == []
    assert [v for v in ("restart", "set-property", "kill", "starts") if verbs.search(v)] == []


def test_a_log_is_given_with_what_it_holds(tmp_path: Path) -> None:
    log = tmp_path / "nginx.jsonl"
    log.write_text("older")
    give(log, tmp_path / "new.log")
    assert log.read_text() == "older"
    assert {each.name: f"{each.stat().st_mode:o}" for each in tmp_path.iterdir()} == {
        "nginx.jsonl": "100660",
        "new.log": "100660",
    }


def test_a_link_in_place_of_a_file_that_is_given_opens_nothing_behind_it(tmp_path: Path) -> None:
    private, pid = tmp_path / "secrets.env", tmp_path / "nginx.pid"
    private.write_text("secret")
    private.chmod(0o600)
    pid.symlink_to(private)
    give(pid)
    assert (f"{private.stat().st_mode:o}", private.read_text()) == ("100600", "secret")
    assert (f"{pid.lstat().st_mode:o}", pid.read_text()) == ("100660", "")
