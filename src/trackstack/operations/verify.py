"""Proves a server from outside, as a client and as a stranger, and takes back what it logged."""

from datetime import UTC, datetime

import httpx

from trackstack.environment import Environment
from trackstack.errors import NotProvenError
from trackstack.operations import clocks, users
from trackstack.operations.own_word import lets_me_in, looked_at_itself
from trackstack.operations.receipt import OnCheck, Prover, Receipt, must_be_known, must_hold
from trackstack.operations.strangers import (
    LOCATIONS,
    METHODS,
    foreign_host,
    look_the_same,
    refused,
    tells_nothing,
)
from trackstack.operations.trial_run import prove_tracking
from trackstack.operations.users import Login
from trackstack.operations.verify_workspace import prove_workspace
from trackstack.tracking import http_client

_MISDIRECTED = frozenset({421})


def verify(
    environment: Environment, quick: bool = False, on_check: OnCheck = lambda _: None
) -> Receipt:
    """Prove an environment's server and keep the receipt.

    Args:
        environment: a running one.
        quick: only see that a stranger is refused and a login can read; writes nothing.
        on_check: told each check as it ends.

    Raises:
        NotProvenError: names each check that did not hold.
    """
    must_run(environment)
    prover = Prover(on_check)
    url = environment.url
    must_be_known(url)
    started = datetime.now(UTC)
    if environment.place is not None and not lets_me_in(environment.outputs.address or url):
        receipt = looked_at_itself(environment, prover, started)
        environment.keep_receipt(receipt.model_dump_json(indent=1) + "\n", started)
        must_hold(receipt, f"`trackstack logs agent -e {environment.name}` says more.")
        return receipt
    with http_client(url, environment.authorities()) as stranger:
        if quick:
            _prove_quickly(prover, environment, stranger)
        else:
            clocks.must_agree(stranger)
            with environment.held("verifying", "trackstack verify"):
                _prove_all(prover, environment, stranger)
    workspace = environment.target.workspace(environment.existing_record().plan)
    if workspace is not None:
        prove_workspace(prover, environment, workspace, quick)
    receipt = Receipt(
        environment=environment.name,
        url=url,
        at=started,
        quick=quick,
        checks=tuple(prover.checks),
    )
    if not quick:
        environment.keep_receipt(receipt.model_dump_json(indent=1) + "\n", started)
    must_hold(
        receipt, f"`trackstack logs mlflow -e {environment.name}` and `… logs nginx` say more."
    )
    return receipt


def must_run(environment: Environment) -> None:
    """Raise NotProvenError where an environment's machine does not run."""
    if not environment.target.running():
        raise NotProvenError(
            f"Environment {environment.name!r} does not run.",
            f"Start it with `trackstack deploy {environment.kind} -e {environment.name}`.",
        )


def _prove_quickly(prover: Prover, environment: Environment, stranger: httpx.Client) -> None:
    prover.check("a stranger is refused", lambda: refused(stranger, LOCATIONS[:1], METHODS[:1]))
    login = users.own_login(environment)
    if login is not None:
        prover.check(f"{login.user} can read", lambda: _reads(environment, login))


def _prove_all(prover: Prover, environment: Environment, stranger: httpx.Client) -> None:
    prover.check("a stranger is refused everywhere", lambda: refused(stranger, LOCATIONS, METHODS))
    prover.check("the liveness path tells nothing", lambda: tells_nothing(stranger))
    prover.check("a foreign Host is refused", lambda: foreign_host(stranger, _MISDIRECTED))
    with users.temporary(environment, "verify") as login:
        prover.check(
            "a wrong password and an unknown user look the same",
            lambda: look_the_same(stranger, login.user),
        )
        with environment.tracking(login.user, login.password) as tracking:
            prove_tracking(prover, environment, tracking)


def _reads(environment: Environment, login: Login) -> str:
    with environment.tracking(login.user, login.password) as tracking:
        tracking.read()
    return "200"
