"""Puts the tails of the machine's logs into the control store, for as long as somebody looks."""

import re

from trackstack.agent import folders
from trackstack.agent.ensure_stores import parse
from trackstack.agent.machine import tail
from trackstack.agent.round import Round
from trackstack.control.base import ConflictError
from trackstack.desired import LogsWanted, logs_key

SECONDS = 3.0
"""How often, while somebody looks."""

_SHORTEST_SECRET = 6
_IN_ADDRESS = re.compile(r"(://[^/\s:@]*:)[^/\s@]+@")
_IN_HEADER = re.compile(r"(?i)((?:authorization|x-amz-security-token)\W{1,4}(?:\w+ )?)[^\s\"',]+")


def show_logs(this: Round) -> bool:
    """Write the tail of the wanted log when it has changed.

    Returns:
        Whether somebody looks.
    """
    wanted = this.logs
    if not isinstance(wanted, LogsWanted) or wanted.until <= this.now:
        return False
    key = logs_key(wanted.service)
    text = redacted(tail(folders.log_of(wanted.service), LogsWanted.MOST_BYTES), _secrets())
    stored = this.store.get(key)
    if stored is None or stored.data != text.encode():
        try:
            this.store.put(key, text.encode(), expect=stored.tag if stored else None)
        except ConflictError:
            return True  # another machine's last words: the next time
    return True


def redacted(text: str, secrets: list[str]) -> str:
    """A log without the secrets that this machine knows, nor what looks like one."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return _IN_HEADER.sub(r"\1***", _IN_ADDRESS.sub(r"\1***@", text))


def _secrets() -> list[str]:
    found: list[str] = []
    for file in (folders.SECRETS, folders.STORES):
        if file.is_file():
            found += parse(file.read_text()).values()
    return [each for each in found if len(each) >= _SHORTEST_SECRET]
