"""A machine whose services run under systemd: a unit and a user of its own for each.

The units lie on the machine from its start (templates/systemd). What they run is a release's start
script. The agent is no root: a rule for polkit lets it start, stop and reload these and no others.
"""

import os
import subprocess
from pathlib import Path

from trackstack.agent import folders
from trackstack.agent.machine import StepError, run, tail, wait_for
from trackstack.desired import content_id

_UP = {"active", "activating", "reloading"}
_FINISH_SECONDS = 150
"""Below what a command waits for a silent machine: the agent does nothing else meanwhile."""


class Systemd:
    """Speaks to the system's service manager through systemctl."""

    def start(self, service: str) -> None:
        """Start a service whose files lie in the services folder."""
        if service == "nginx":
            # A socket that somebody else put there would keep nginx from making its own.
            folders.give_way(folders.NGINX_SOCKET)
            # nginx's check of settings, which the agent runs, opens its pid file for writing too.
            give(folders.NGINX_LOG, folders.NGINX_ERRORS, folders.NGINX_PID)
        elif service.startswith("mlflow-"):
            give(folders.MLFLOW_LOG)
        # One that failed again and again is started no more until that is forgotten.
        self.forget(service)
        _order("start", service)

    def stop(self, service: str) -> None:
        """Stop a service; returns when its processes are gone."""
        _order("stop", service)

    def finish(self, service: str, problem: str) -> None:
        """Run a service whose start script ends by itself."""
        self.start(service)
        ended = wait_for(lambda: not self.running(service), _FINISH_SECONDS)
        if not ended or not self.ended_well(service):
            self.stop(service)
            self.forget(service)
            raise StepError(problem, tail(folders.log_of(service.partition("-")[0])))

    def reload(self, service: str) -> None:
        """Have a service read its settings again."""
        _order("reload", service)

    def running(self, service: str) -> bool:
        """Whether a service is up or on its way up."""
        asked = subprocess.run(
            _command("is-active", service), capture_output=True, text=True, check=False
        )
        return asked.stdout.strip() in _UP

    def pid(self, service: str) -> int | None:
        """The first process of a service, or None while it has none."""
        return int(_told(service, "MainPID")) or None

    def forget(self, service: str) -> None:
        """Have systemd forget that a service failed."""
        subprocess.run(_command("reset-failed", service), capture_output=True, check=False)

    def ended_well(self, service: str) -> bool:
        """Whether a service that runs no more ended by itself and without a complaint."""
        return _told(service, "Result") == "success"


def unit(service: str) -> str:
    """The unit of a service: 'nginx', 'models', 'mlflow-' or 'model-' and which."""
    if service.startswith("model-"):
        return f"trackstack-model@{instance(service)}.service"
    return f"trackstack-{service.replace('-', '@', 1)}.service"


def instance(service: str) -> str:
    """Names a model's code in the unit: its user is called so too, and such names are short."""
    return content_id(service)


def _told(service: str, what: str) -> str:
    asked = [*_command("show", service), "--value", f"--property={what}"]
    return run(asked, f"systemd does not tell of {service}").strip()


def give(*files: Path) -> None:
    """Have files that the agent and a service write to, such as logs.

    What a service put there instead, such as a link to a file of the agent's, gives way.
    """
    for file in files:
        try:
            _open_to_group(file, os.O_NOFOLLOW)
        except OSError:
            folders.give_way(file)
            _open_to_group(file, os.O_EXCL)


def _open_to_group(file: Path, how: int) -> None:
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | how, 0o600)
    try:
        os.fchmod(handle, 0o660)
    finally:
        os.close(handle)


def _command(verb: str, service: str) -> list[str]:
    return ["systemctl", "--no-ask-password", verb, unit(service)]


def _order(verb: str, service: str) -> None:
    run(_command(verb, service), f"systemd does not {verb} {service}")
