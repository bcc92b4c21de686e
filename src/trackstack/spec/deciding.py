"""What is asked and what is decided: nothing recorded changes unasked."""

import os
from collections.abc import Mapping
from typing import Any

import psutil

from trackstack.spec.kinds import Asked

_GOES_WITH_TLS = {"certificate": "files", "key": "files", "trusted_proxies": "upstream"}


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> Asked:
    """Two nested mappings as one, where the one above wins."""
    result = dict(below)
    for key, value in above.items():
        base = result.get(key)
        both = isinstance(base, dict) and isinstance(value, dict)
        result[key] = merged(dict(base or {}), value) if both else value
    return result


def without_other_tls(below: Asked, flags: Asked) -> Asked:
    """What was asked before, but for keys that only go with another `tls` than flags now ask for.

    Else no flag could take them back: `--tls own` after `--tls files` would be refused for the
    certificate.
    """
    wanted = flags.get("server", {}).get("tls")
    if wanted is None or "server" not in below:
        return below
    kept = {
        key: value
        for key, value in below["server"].items()
        if _GOES_WITH_TLS.get(key, wanted) == wanted
    }
    return {**below, "server": kept}


def decide(asked: Asked, recorded: Asked, decided: Asked, fallback: Asked) -> Asked:
    """Fill in what nobody asks for.

    A key that nobody asked for, then as now, keeps what was decided; one that had been asked
    for and is no longer goes back to the default.

    Args:
        asked: now.
        recorded: asked at the last deploy; empty before the first.
        decided: with every key, at the last deploy; empty before the first.
        fallback: the defaults, with every key.
    """
    result: Asked = {}
    for key, default in fallback.items():
        if isinstance(default, dict) and default:  # an empty one is a value, such as tags
            result[key] = decide(
                asked.get(key, {}), recorded.get(key, {}), decided.get(key, {}), default
            )
        elif key in asked:
            result[key] = asked[key]
        elif key in decided and key not in recorded:
            result[key] = decided[key]
        else:
            result[key] = default
    return result


def default_workers(cores: int | None = None, memory: int | None = None) -> int:
    """How many MLflow workers fit: one a core, at most 4, of 480 MB at most and 280 each more.

    Args:
        cores: processors; this computer's when None.
        memory: bytes; this computer's when None.
    """
    cores = cores or os.cpu_count() or 1
    memory = memory or psutil.virtual_memory().total
    # Half of the memory is left to everything else.
    fitting = 1 + int((memory / 2 - 480e6) // 280e6)
    return max(1, min(4, cores, fitting))
