"""What a machine shows of itself to who looks at its sockets, files, logs and processes."""

import json
import re
import shlex
import subprocess
from datetime import UTC, datetime

import pytest

from box.deployed import NAME, Box
from box.one_cloud import on_aws
from kits import eventually
from trackstack.agent.ensure_logs import BOUNDS

# SSH and the resolver of Debian's images, and ours.
LISTENS = {"*:22", "0.0.0.0:443", "127.0.0.53%lo:53", "127.0.0.54:53"}
KERNEL_HOOK = "/etc/kernel/postinst.d/unattended-upgrades"


def test_nothing_listens_but_what_the_image_brings_and_https(deployed: Box) -> None:
    found = set(deployed.guest.run("ss -Hltn | awk '{print $4}'").split())
    assert found == LISTENS


def test_cloud_init_is_done_without_a_warning(deployed: Box) -> None:
    told = json.loads(deployed.guest.attempt("cloud-init status --format json").stdout)
    assert (told["status"], told["errors"], told["recoverable_errors"]) == ("done", [], {})


def test_no_unit_failed(deployed: Box) -> None:
    assert deployed.guest.run("systemctl --failed --plain --no-legend") == ""
    assert deployed.guest.run("systemctl is-enabled unattended-upgrades").strip() == "enabled"


@on_aws
def test_updates_install_themselves_and_status_says_so(deployed: Box) -> None:
    guest = deployed.guest
    timers = "apt-daily.timer apt-daily-upgrade.timer"
    assert guest.run(f"systemctl is-enabled {timers}; systemctl is-active {timers}").split() == (
        2 * ["enabled"] + 2 * ["active"]
    )
    guest.run("rm -f /var/lib/apt/periodic/*-stamp")
    assert deployed.patches() == {"last": None, "reboot_pending": False}
    before = datetime.now(UTC).replace(microsecond=0)
    # What the timers start once a day; a kernel, which no container has, would run the hook.
    guest.run("systemctl start apt-daily.service && systemctl start apt-daily-upgrade.service")
    guest.run(f"DPKG_MAINTSCRIPT_PACKAGE=linux-image-amd64 {KERNEL_HOOK}")
    told = deployed.patches()
    guest.run("rm /run/reboot-required*")
    assert before <= datetime.fromisoformat(told["last"]) <= datetime.now(UTC)
    assert told["reboot_pending"]
    assert not deployed.patches()["reboot_pending"]


EXPOSURE = {"mlflow@": 1.5, "nginx": 2.0, "": 2.0}
"""The most that systemd may find to complain of, by unit; the last is the agent's."""


@pytest.mark.parametrize("service", EXPOSURE)
def test_a_service_is_shut_in(deployed: Box, service: str) -> None:
    if service == "mlflow@":
        found = deployed.guest.run("systemctl list-units --plain --no-legend 'trackstack-mlflow@*'")
        unit = found.split()[0]
    else:
        unit = f"trackstack{'-' if service else ''}{service}.service"
    told = deployed.guest.run(f"systemd-analyze security --no-pager {unit}")
    overall = re.search(r"Overall exposure level for .*: ([0-9.]+)", told)
    assert overall, told
    assert float(overall[1]) <= EXPOSURE[service], told


def _broken_into_mlflow(box: Box, command: str) -> "subprocess.CompletedProcess[str]":
    """What somebody comes to who runs commands where MLflow runs, as its user."""
    unit = box.guest.run("systemctl list-units --plain --no-legend 'trackstack-mlflow@*'")
    pid = box.guest.run(f"systemctl show --property MainPID --value {unit.split()[0]}").strip()
    return box.guest.attempt(
        f"nsenter --target={pid} --mount --wdns=/var/lib/trackstack/machine"
        " setpriv --reuid=trackstack-mlflow --regid=trackstack --clear-groups"
        f" sh -c {shlex.quote(command)}"
    )


def test_what_breaks_into_mlflow_sees_no_hash_and_no_key_of_a_certificate(deployed: Box) -> None:
    paths = ("data/mlflow.db", "data/secrets.env", "users", "data/tls", "nginx.conf", "live")
    there = {
        path: _broken_into_mlflow(deployed, f"(cat {path} || ls {path}/*) >/dev/null")
        for path in paths
    }
    seen = sorted(path for path, tried in there.items() if tried.returncode == 0)
    assert seen == ["data/mlflow.db", "data/secrets.env"], there


@pytest.mark.parametrize(
    "attempt",
    [
        "echo X=y >>data/secrets.env",
        "rm -f data/secrets.env",
        "mv data/stores.env data/other",
        "ln -sfT /var/lib/trackstack/machine/users data/stores.env",
        "echo >data/planted && mv data/planted data/secrets.env",
        "mv data/tls data/other",
        "mv data kept",
    ],
)
def test_what_breaks_into_mlflow_does_not_change_what_it_is_started_with(
    deployed: Box, attempt: str
) -> None:
    kept = "cd /var/lib/trackstack/machine/data && cat secrets.env stores.env && ls -d tls"
    before = deployed.guest.run(kept)
    done = _broken_into_mlflow(deployed, attempt)
    assert done.returncode != 0
    assert deployed.guest.run(kept) == before, done.stdout


def test_what_verify_logged_is_removed_by_mlflows_user(deployed: Box) -> None:
    """MLflow writes the database that leads `mlflow gc`: the agent's user does not run it."""
    guest = deployed.guest
    since = guest.run("date +@%s.%N").strip()
    deployed.laptop.run("verify", "-e", NAME)
    journal = f"journalctl --no-pager -o cat --since={since} -u 'trackstack-mlflow@*'"
    ended = re.compile(r"^trackstack-mlflow@[0-9a-f]{8}\.service: Deactivated success", re.M)
    assert eventually(lambda: bool(ended.search(guest.run(journal))), 60), guest.run(journal)
    asked = (
        'import sqlite3; database = sqlite3.connect("data/mlflow.db"); print(database.execute('
        '"SELECT name FROM experiments WHERE lifecycle_stage = ?", ("deleted",)).fetchall())'
    )
    left = _broken_into_mlflow(deployed, f"python3 -c {shlex.quote(asked)}").stdout
    assert left.strip() == "[]"


def test_the_agent_can_shorten_every_log(deployed: Box) -> None:
    """Those too that a service opens under its own user."""
    tried = {
        str(log): deployed.guest.attempt(
            f"runuser -u trackstack -- test -w /var/lib/trackstack/machine/{log}"
        ).returncode
        for log in BOUNDS
    }
    assert tried == dict.fromkeys(tried, 0)


@pytest.mark.parametrize(
    ("verb", "unit", "allowed"),
    [
        ("reload", "trackstack-nginx", True),
        ("stop", "ssh", False),
        ("restart", "trackstack", False),
    ],
)
def test_the_agent_may_do_with_units_what_it_has_to(
    deployed: Box, verb: str, unit: str, allowed: bool
) -> None:
    command = f"runuser -u trackstack -- systemctl --no-ask-password {verb} {unit}"
    done = deployed.guest.attempt(command)
    assert (done.returncode == 0) is allowed, done.stdout


def test_no_secret_is_where_others_can_read_it(deployed: Box) -> None:
    secrets = [
        deployed.password(),
        *deployed.guest.run(
            "sed -n 's/^[A-Z_]*=//p' /var/lib/trackstack/machine/data/secrets.env"
        ).split(),
    ]
    assert len(secrets) >= 3
    places = {
        "user-data": deployed.machine.user_data,
        "console": deployed.machine.console,
        "journal": deployed.guest.run("journalctl --no-pager -o verbose"),
        "process list": deployed.guest.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '"),
        "readable files": deployed.guest.run(
            "runuser -u nobody -- grep -rIhsF --exclude-dir=proc --exclude-dir=sys"
            f" {' '.join(f'-e {secret}' for secret in secrets)}"
            " /etc /home /opt /root /run /srv /tmp /usr/local /var || true"
        ),
    }
    found = [place for place, text in places.items() if any(secret in text for secret in secrets)]
    assert found == []


@pytest.mark.parametrize(
    ("unit", "log"),
    [
        ("trackstack.service", "agent.log"),
        ("trackstack-nginx.service", "nginx.jsonl"),
        ("trackstack-mlflow@*.service", "mlflow.log"),
    ],
)
def test_a_link_in_place_of_a_log_has_root_write_nowhere(
    deployed: Box, unit: str, log: str
) -> None:
    """Even if the agent puts it there, whose folder it is."""
    guest, target = deployed.guest, "/usr/local/written"
    folder = "/var/lib/trackstack/machine/logs"
    swap = f"mv {log} {log}.mine && ln -s {target} {log}"
    guest.run(f"cd {folder} && runuser -u trackstack -- sh -c '{swap}'")
    guest.attempt(f"systemctl restart '{unit}'")
    guest.run(f"cd {folder} && mv {log}.mine {log}")
    # It may have failed so often by now that systemd would not start it again.
    guest.run(f"systemctl reset-failed '{unit}'; systemctl restart '{unit}'")
    assert eventually(deployed.serves, 60), deployed.console()
    assert guest.attempt(f"test -e {target}").returncode == 1, f"root wrote for {unit}"


@pytest.mark.parametrize("user", ["trackstack-nginx", "trackstack-mlflow"])
def test_a_service_puts_nothing_in_place_of_a_log(deployed: Box, user: str) -> None:
    """The agent shortens and copies logs: a link there would have it write where it leads."""
    place = "/var/lib/trackstack/machine/logs/nginx.jsonl.1"
    done = deployed.guest.attempt(f"runuser -u {user} -- ln -sf /dev/null {place}")
    assert "Permission denied" in done.stdout, done
