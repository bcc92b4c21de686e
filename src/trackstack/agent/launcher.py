"""Becomes the supervisor of a machine's folder: the agent runs first, services after it.

`python -m trackstack.agent.launcher FOLDER STORE MACHINE_ID`, with STORE relative to FOLDER. A
lock in the folder is held for as long as the supervisor lives, so whether a machine runs, and
under which pid, is the kernel's word and not a stale file's.
"""

import argparse
import fcntl
import os
import sys
from pathlib import Path

import psutil
from supervisor import supervisord
from supervisor.options import ServerOptions

from trackstack.agent import folders
from trackstack.agent.ensure_release import make_folders

_LOCK = folders.RUN / "supervisor.lock"
_SETTINGS = Path("supervisord.conf")
_MARK = "TRACKSTACK_MACHINE"
"""Set to the machine's folder in every process of the machine, so that strays are known."""

_SUPERVISORD = f"""\
[supervisord]
nodaemon=true
silent=true
umask=077
minfds=256
logfile={folders.LOGS}/supervisor.log
logfile_maxbytes=1MB
logfile_backups=1
pidfile={folders.RUN}/supervisor.pid
childlogdir={folders.LOGS}
identifier=trackstack

[unix_http_server]
file={folders.SUPERVISOR_SOCKET}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[program:agent]
command=/bin/sh -c 'exec "$TRACKSTACK_PYTHON" -P -m trackstack.agent'
autorestart=true
startsecs=0
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile={folders.AGENT_LOG}
stdout_logfile_maxbytes=5MB
stdout_logfile_backups=1

[include]
files={folders.SERVICES}/*.conf
"""


class _Options(ServerOptions):  # type: ignore[misc]  # supervisor has no types
    """Supervisor's own, but its socket's path stays relative and the lock stays held."""

    def server_configs_from_parser(self, parser: object) -> list[dict[str, object]]:
        configs: list[dict[str, object]] = super().server_configs_from_parser(parser)
        return [{**config, "file": str(folders.SUPERVISOR_SOCKET)} for config in configs]

    def cleanup_fds(self) -> None:
        """Supervisor would close every file from 5 on, the lock among them."""


def main() -> None:
    """Take the lock and run until told to stop; without the lock, another one does: leave."""
    parser = argparse.ArgumentParser(prog="trackstack.agent.launcher")
    parser.add_argument("folder", type=Path)
    parser.add_argument("store")
    parser.add_argument("machine")
    asked = parser.parse_args()
    os.chdir(asked.folder)
    os.umask(0o077)
    make_folders()
    lock = os.open(_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    os.truncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    folder = str(Path.cwd())
    end_strays(Path(folder))
    os.environ |= {
        _MARK: folder,
        "TRACKSTACK_PYTHON": sys.executable,
        "TRACKSTACK_STORE": asked.store,
        "TRACKSTACK_MACHINE_ID": asked.machine,
        "TMPDIR": str(Path(folder) / folders.TEMPORARY),
    }
    _SETTINGS.write_text(_SUPERVISORD)
    options = _Options()
    options.realize(["-c", str(_SETTINGS)])
    options.first, options.test = True, False
    supervisord.go(options)


def holder(folder: Path) -> int | None:
    """The pid of the supervisor that runs a machine's folder, or None."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        # Empty for the instant between taking the lock and writing the pid.
        return int(os.pread(lock, 32, 0) or b"0") or None
    else:
        return None
    finally:
        os.close(lock)


def strays(folder: Path) -> list[psutil.Process]:
    """Processes of a machine that run on although its supervisor is gone."""
    return [process for process in psutil.process_iter() if _is_of(process, folder)]


def end_strays(folder: Path) -> None:
    """End what a killed supervisor left running; call it only while no supervisor runs."""
    left = strays(folder)
    for process in left:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(left, timeout=10)


def _is_of(process: psutil.Process, folder: Path) -> bool:
    if process.pid == os.getpid():
        return False
    try:
        if process.name() == "nginx":  # writes its title over its environment
            return process.cwd() == str(folder)
        return process.environ().get(_MARK) == str(folder)
    except (psutil.Error, OSError):
        return False


if __name__ == "__main__":
    main()
