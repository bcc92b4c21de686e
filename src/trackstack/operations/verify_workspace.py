"""Proves from outside that JupyterLab, where a shell is, lets in nobody but who has its token."""

from collections.abc import Mapping

import httpx

from trackstack.environment import Environment
from trackstack.operations.receipt import MissError, Prover
from trackstack.targets.base import Workspace
from trackstack.tracking import http_client

_SHELL = "api/terminals"
_LEFT = httpx.codes.FORBIDDEN


def prove_workspace(
    prover: Prover, environment: Environment, workspace: Workspace, quick: bool
) -> None:
    """Prove a workspace; a stranger, and a page of the server's own, come to no shell.

    Args:
        prover: takes what was seen.
        environment: whose.
        workspace: where JupyterLab is, and its token.
        quick: only whether a stranger is refused.
    """
    token = {"Authorization": f"token {workspace.token}"}
    foreign = {**token, "Origin": environment.url}
    with http_client(workspace.url, environment.authorities()) as http:
        prover.check("JupyterLab refuses a stranger", lambda: _answers(http, {}, _LEFT))
        if not quick:
            prover.check(
                "JupyterLab refuses a page of MLflow's", lambda: _answers(http, foreign, _LEFT)
            )
            prover.check("JupyterLab takes its token", lambda: _answers(http, token, 200))


def _answers(http: httpx.Client, headers: Mapping[str, str], wanted: int) -> str:
    status = http.get(_SHELL, headers=headers).status_code
    if status != wanted:
        raise MissError(f"{status} for {_SHELL}, and not {wanted}")
    return f"{status}"
