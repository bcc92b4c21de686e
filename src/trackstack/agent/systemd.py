"""A machine whose services run under systemd: a unit and a user of its own for each.

The units lie on the machine from its start (templates/systemd). What they run is a release's start
script. The agent is no root: a rule for polkit lets it start, stop and reload these and no others.
"""

import subprocess
from pathlib import Path

from trackstack.agent import folders
from trackstack.agent.machine import run

_UP = {"active", "activating", "reloading"}


class Systemd:
    """Speaks to the system's service manager through systemctl."""

    def start(self, service: str) -> None:
        """Start a service whose files lie in the services folder."""
        if service == "nginx":
            # A socket that somebody else put there would keep nginx from making its own.
            folders.NGINX_SOCKET.unlink(missing_ok=True)
            # nginx's check of settings, which the agent runs, opens its pid file for writing too.
            _give(folders.NGINX_LOG, folders.NGINX_ERRORS, folders.NGINX_PID)
        else:
            _give(folders.MLFLOW_LOG)
        # One that failed again and again is started no more until that is forgotten.
        subprocess.run(_command("reset-failed", service), capture_output=True, check=False)
        _order("start", service)

    def stop(self, service: str) -> None:
        """Stop a service; returns when its processes are gone."""
        _order("stop", service)

    def reload(self, service: str) -> None:
        """Have a service read its settings again."""
        _order("reload", service)

    def running(self, service: str) -> bool:
        """Whether a service is up or on its way up."""
        asked = subprocess.run(
            _command("is-active", service), capture_output=True, text=True, check=False
        )
        return asked.stdout.strip() in _UP


def unit(service: str) -> str:
    """The unit of a service: 'nginx', or 'mlflow-' and eight digits."""
    return f"trackstack-{service.replace('-', '@', 1)}.service"


def _give(*files: Path) -> None:
    """Have files that the agent and a service write to: logs too, which systemd opens as root."""
    for file in files:
        file.touch()
        file.chmod(0o660)


def _command(verb: str, service: str) -> list[str]:
    return ["systemctl", "--no-ask-password", verb, unit(service)]


def _order(verb: str, service: str) -> None:
    run(_command(verb, service), f"systemd does not {verb} {service}")
