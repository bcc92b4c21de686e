"""A deployment kit for the MLflow tracking server."""

import sys

__version__ = "0.1.0"

# httpx also imports its own command, and rich with it: a fifth of the time that a command of ours
# takes to start. Where that cannot be imported, as without httpx[cli], it goes without.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
