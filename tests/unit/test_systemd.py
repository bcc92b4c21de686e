"""The units that the agent speaks of are those that exist, and that polkit lets it start."""

import re

import pytest

from trackstack import bundle
from trackstack.agent.systemd import unit

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
