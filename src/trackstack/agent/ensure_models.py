"""Served models: the service that takes care of them runs where there are any, and only there."""

from trackstack.agent import folders
from trackstack.agent.ensure_release import retire
from trackstack.agent.round import Round

_SERVICE = "models"
_DEFINITION = """\
[program:models]
command=/bin/sh -c 'exec "$TRACKSTACK_PYTHON" -P -m trackstack.agent.models'
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
    definition = folders.SERVICES / f"{_SERVICE}.conf"
    if models is None and not definition.is_file():
        return
    if models is not None and (models.models or _servers()):
        if not definition.is_file() or definition.read_text() != _DEFINITION:
            folders.write(definition, _DEFINITION.encode())
        if not this.machine.running(_SERVICE):
            this.machine.start(_SERVICE)
    elif definition.is_file() and not this.machine.running(_SERVICE):
        retire(this, _SERVICE)


def _servers() -> bool:
    return any(folders.SERVICES.glob("model-*"))
