"""Removes for good what verify logged: MLflow itself only marks runs and experiments."""

import secrets
import shlex

from trackstack.agent import folders
from trackstack.agent.ensure_release import retire
from trackstack.agent.ensure_users import let_in, shut_out
from trackstack.agent.machine import FAILED, FINISHED
from trackstack.agent.round import Round
from trackstack.desired import Cleanup, Release, content_id
from trackstack.durable import write_durably

_AGENT = "trackstack.agent"
_SCRIPT = """#!/bin/sh
# Removes for good what verify logged, as the user whose database and artifacts they are.
set -a
. ./services/{service}.env
! [ -f data/stores.env ] || . ./data/stores.env
HOME=$PWD/tmp
PYTHONSAFEPATH=1
set +a
packages/{packages}/bin/python -m mlflow gc --backend-store-uri "$MLFLOW_BACKEND_STORE_URI" \\
    --run-ids {runs} --logged-model-ids {models} --experiment-ids {experiment} || exit {failed}
# As far as they hold no file.
! [ -d data/artifacts/{experiment} ] ||
    find data/artifacts/{experiment} -depth -type d -empty -exec rmdir {{}} \\;
exit {finished}
"""


def ensure_cleaned(this: Round) -> None:
    """Carry out the clean-up document once; MLflow refuses what is not marked as deleted."""
    cleanup, release = this.wanted_cleanup(), this.wanted_release()
    if cleanup is None or release is None or cleaned_generation() >= cleanup.generation:
        return
    # Noted before it is tried: an id that is gone already would fail again for ever.
    write_durably(folders.CLEANED, str(cleanup.generation).encode())
    # Artifacts are reached through the proxy, so mlflow gc needs a login while it runs.
    password = secrets.token_urlsafe(24)
    let_in(_AGENT, f"{_AGENT}:{{PLAIN}}{password}\n")
    try:
        _collect(this, cleanup, release, password)
    finally:
        shut_out(_AGENT)


def _collect(this: Round, cleanup: Cleanup, release: Release, password: str) -> None:
    """Run `mlflow gc` as one more of MLflow's services, whose walls it has where there are some.

    What is in the database leads it, and MLflow writes that: it is no program for the agent's user.
    """
    # Of MLflow's services, so that the next round ends what a killed agent left of it.
    service = f"mlflow-{content_id(['cleanup', cleanup.generation])[:8]}"
    variables = {
        "MLFLOW_TRACKING_URI": release.url,
        "MLFLOW_TRACKING_USERNAME": _AGENT,
        "MLFLOW_TRACKING_PASSWORD": password,
    }
    script = _SCRIPT.format(
        service=service,
        packages=release.packages_id,
        # All three, always: a missing one means everything that anybody deleted.
        runs=",".join(cleanup.runs),
        models=",".join(cleanup.models),
        experiment=cleanup.experiment,
        finished=FINISHED,
        failed=FAILED,
    )
    # The release's own are placed only once its MLflow is started, which may have failed.
    (own,) = (
        file.content for file in release.files if file.path == f"services/{release.mlflow}.env"
    )
    told = "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())
    try:
        folders.write(folders.SERVICES / f"{service}.env", f"{own}\n{told}".encode())
        folders.write(folders.SERVICES / f"{service}.sh", script.encode())
        this.machine.finish(service, "mlflow gc failed")
    finally:
        retire(this, service)


def cleaned_generation() -> int:
    """The generation of the last clean-up that was carried out; 0 for none."""
    if not folders.CLEANED.is_file():  # a pipe would be waited on
        return 0
    try:
        return int(folders.CLEANED.read_text())
    except (OSError, ValueError):
        return 0
