"""Served models: the service that takes care of them runs where there are any, and only there."""

import os
import shlex
import sys
from pathlib import Path

from trackstack.agent import folders, itself
from trackstack.agent.ensure_release import retire
from trackstack.agent.round import Round

_SERVICE = "models"
_DEFINED = folders.SERVICES / f"{_SERVICE}.conf"
_DEFINITION = """\
[program:models]
command=/bin/sh services/models.sh
autorestart=unexpected
exitcodes=0
startsecs=0
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile=logs/models.log
stdout_logfile_maxbytes=5MB
stdout_logfile_backups=1
"""


def ensure_models(this: Round) -> None:
    """Have the service run while models are wanted; it ends by itself when the last one left.

    It is no part of the release: whoever serves no models has nothing of it.
    """
    models = this.wanted_models()
    if models is None or not (models.models or _DEFINED.is_file() or _servers()):
        return
    folders.make_all(folders.OF_MODELS)
    _put(folders.MODELS_WANTED, models.to_bytes())
    if models.models or _servers():
        another = _put(folders.SERVICES / f"{_SERVICE}.sh", _program().encode())
        _put(_DEFINED, _DEFINITION.encode())
        if another and this.machine.running(_SERVICE):
            this.machine.stop(_SERVICE)
        if not this.machine.running(_SERVICE):
            this.machine.start(_SERVICE)
    elif not this.machine.running(_SERVICE):
        retire(this, _SERVICE)


def _put(file: Path, data: bytes) -> bool:
    """Have a file, and say whether it was another one before."""
    if file.is_file() and file.read_bytes() == data:
        return False
    folders.write(file, data)
    return True


def _program() -> str:
    """The start script: another part of the agent's own program."""
    if itself.running() is None:
        return 'exec "$TRACKSTACK_PYTHON" -P -m trackstack.agent.models\n'
    # systemd gives its units nothing of what the boot program gave this one.
    store = shlex.quote(os.environ["TRACKSTACK_STORE"])
    command = shlex.join([sys.executable, "-P", sys.argv[0], "models"])
    log = folders.LOGS / f"{_SERVICE}.log"
    return f"export TRACKSTACK_STORE={store}\nexec {command} >>{log} 2>&1\n"


def _servers() -> bool:
    return any(folders.SERVICES.glob("model-*"))
