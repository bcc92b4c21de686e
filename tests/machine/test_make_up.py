"""`make up` on a machine that holds git, make and python3: as root, and as a user with sudo."""

import base64
import re
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest
from machines import NOTED_STARTS, USER, Machine

from kits import free_port

EXPERIMENTS = "/api/2.0/mlflow/experiments/search?max_results=1"


@pytest.mark.parametrize(("suite", "user"), [("bookworm", "root"), ("trixie", USER)])
def test_a_fresh_machine_serves_and_is_clean_again(
    start_machine: Callable[[str], Machine], suite: str, user: str
) -> None:
    machine = start_machine(suite)
    checkout = machine.copy_checkout_for(user)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    up = f"cd {checkout} && make up ARGS='--port {port}'"

    first = machine.run(up, user)
    shown = re.search(rf"^ +{user} +(\S+)$", first, re.MULTILINE)
    assert url in first
    assert shown
    assert _status(url) == 401
    assert _status(url + EXPERIMENTS, user, shown[1]) == 200

    installed = machine.file("/var/log/apt/history.log").read_text()
    assert "Nothing changed" in machine.run(up, user)
    assert machine.file("/var/log/apt/history.log").read_text() == installed

    assert not machine.starts_at_boot("nginx")
    assert not machine.file(NOTED_STARTS).exists(), "a system service was started"
    assert not machine.file("/usr/sbin/policy-rc.d").exists()

    machine.run(f"cd {checkout} && .venv/bin/trackstack destroy --purge --confirm local", user)
    assert machine.processes() == []
    assert machine.run(f"find / -xdev -user {USER} -not -path '/home/{USER}*'") == ""
    with pytest.raises(urllib.error.URLError):
        _status(url)


def _status(url: str, user: str = "", password: str = "") -> int:
    request = urllib.request.Request(url)
    if user:
        login = base64.b64encode(f"{user}:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {login}")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return refusal.code
