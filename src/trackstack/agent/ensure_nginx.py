"""nginx: the release's settings are live; a release whose settings fail leaves the old ones."""

import shutil
import urllib.error
import urllib.request
from pathlib import Path

import psutil

from trackstack.agent import folders
from trackstack.agent.ensure_release import live_release_id, place_service
from trackstack.agent.machine import StepError, ask, run, tail, wait_for
from trackstack.agent.round import Round
from trackstack.desired import Release

_SWITCH_SECONDS = 15
_DRAIN_SECONDS = 15


def ensure_nginx(this: Round) -> None:
    """Have nginx serve the release, and nobody let in without a login."""
    release = this.wanted_release()
    if release is None:
        return
    settings = folders.RELEASES / release.id / "nginx" / "nginx.conf"
    if _target(folders.NGINX_SETTINGS) != settings:
        _check(settings)
        link(folders.NGINX_SETTINGS, settings)
    place_service(release, "nginx")
    try:
        _switch(this, release)
    except StepError:
        _go_back(this, release)
        raise
    link(folders.LIVE, folders.RELEASES / release.id)


def _switch(this: Round, release: Release) -> None:
    if _serves(release):
        return
    old = _workers()
    if this.machine.running("nginx"):
        this.machine.reload("nginx")
    else:
        this.machine.start("nginx")
    down = lambda: not this.machine.running("nginx")  # noqa: E731
    if not wait_for(lambda: _serves(release), _SWITCH_SECONDS, gone=down):
        raise StepError("nginx does not take up its settings", tail(folders.NGINX_ERRORS))
    # For 0.1 s old and new take requests side by side, and what the old ones have taken goes to
    # the older MLflow, which may end only after them.
    wait_for(lambda: not any(worker.is_running() for worker in old), _DRAIN_SECONDS)
    status = _status(f"{release.url}/")
    if status != 401:
        raise StepError(
            f"{release.url}/ answers {status or 'nothing'} to nobody in particular, not 401"
        )


def _workers() -> list[psutil.Process]:
    try:
        return psutil.Process(int(folders.NGINX_PID.read_text())).children()
    except (OSError, ValueError, psutil.Error):
        return []


def _go_back(this: Round, failed: Release) -> None:
    """Set nginx up from the release that serves, so that a restart of nginx is safe too."""
    live = live_release_id()
    if live is None or live == failed.id:
        return
    link(folders.NGINX_SETTINGS, folders.RELEASES / live / "nginx" / "nginx.conf")
    if this.machine.running("nginx"):
        this.machine.reload("nginx")
    else:
        this.machine.start("nginx")


def _check(settings: Path) -> None:
    program = shutil.which("nginx")
    if program is None:
        raise StepError("there is no nginx on this machine")
    link(folders.NGINX_CANDIDATE, settings)
    run(
        [program, "-t", "-q", "-p", "./", "-c", str(folders.NGINX_CANDIDATE), "-e", "stderr"],
        "nginx refuses the release's settings",
    )


def _serves(release: Release) -> bool:
    return ask(folders.NGINX_SOCKET, "/release") == (200, release.nginx)


def _status(url: str) -> int | None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def link(name: Path, target: Path) -> None:
    """Point a link in the machine's folder somewhere else, in one step."""
    if _target(name) == target:
        return
    new = name.with_name(f"{name.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(name)


def _target(name: Path) -> Path | None:
    return name.readlink() if name.is_symlink() else None
