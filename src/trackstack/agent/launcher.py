"""Becomes the supervisor of a machine's folder: the agent runs first, services after it.

`python -m trackstack.agent.launcher FOLDER STORE MACHINE_ID`, with STORE an address, or a path
relative to FOLDER. A lock in the folder is held for as long as the supervisor lives, so whether a
machine runs, and under which pid, is the kernel's word and not a stale file's.
"""

import argparse
import fcntl
import os
import sys
import time
from pathlib import Path

from supervisor import loggers, supervisord
from supervisor.options import ServerOptions

from trackstack.agent import folders
from trackstack.agent.processes import LOCK, MARK, end_strays

_SETTINGS = Path("supervisord.conf")
_LOCK_SECONDS = 0.3
"""Whoever asks for the holder holds the lock himself for an instant."""

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
    parser.add_argument("--python", default=sys.executable, help="what stands in for this Python")
    asked = parser.parse_args()
    os.chdir(asked.folder)
    os.umask(0o077)
    folders.make_all()
    lock = os.open(LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    if not _taken(lock):
        return
    os.truncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    folder = str(Path.cwd())
    end_strays(Path(folder))
    os.environ |= {
        MARK: folder,
        "TRACKSTACK_PYTHON": asked.python,
        "TRACKSTACK_STORE": asked.store,
        "TRACKSTACK_MACHINE_ID": asked.machine,
        "TMPDIR": str(Path(folder) / folders.TEMPORARY),
    }
    if not _SETTINGS.is_file() or _SETTINGS.read_text() != _SUPERVISORD:
        _SETTINGS.write_text(_SUPERVISORD)  # only when needed: a full disk keeps no start away
    # A line that cannot be logged, as on a full disk, is lost. Supervisor would print a trace to
    # its standard error, which is on the same disk, and end by that.
    loggers.Handler.handleError = lambda _: None
    options = _Options()
    options.realize(["-c", str(_SETTINGS)])
    options.first, options.test = True, False
    supervisord.go(options)


def _taken(lock: int) -> bool:
    until = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(0.01)
        else:
            return True


if __name__ == "__main__":
    main()
