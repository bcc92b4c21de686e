"""Proves one served model from outside: it answers its own input example as its code does."""

import json
import math
from datetime import UTC, datetime
from typing import Any

import httpx

from trackstack.desired import ModelTrial
from trackstack.environment import Environment
from trackstack.errors import printable
from trackstack.operations import models, users
from trackstack.operations.receipt import (
    MissError,
    OnCheck,
    Prover,
    Receipt,
    must_be_known,
    must_hold,
)
from trackstack.tracking import http_client


def verify_model(
    environment: Environment, name: str, on_check: OnCheck = lambda _: None
) -> Receipt:
    """Prove a served model, and keep the receipt.

    Raises:
        UsageError: no model is served so.
        NotProvenError: names each check that did not hold.
    """
    models.must_be_possible(environment)
    models.must_be_served(environment, name)
    must_be_known(environment.url)
    prover, started = Prover(on_check), datetime.now(UTC)
    address = f"/serve/{name}/invocations"
    authorities = environment.authorities()
    with http_client(environment.url, authorities) as stranger:
        prover.check(f"a stranger is refused by {name}", lambda: _refused(stranger, address))
    with (
        users.temporary(environment, "verify") as login,
        http_client(environment.url, authorities, (login.user, login.password)) as client,
    ):
        prover.check(
            f"{name} answers as its own code does",
            lambda: _answers_alike(client, address, models.tried(environment, name)),
        )
    receipt = Receipt(
        environment=environment.name,
        url=environment.url,
        at=started,
        quick=False,
        checks=tuple(prover.checks),
    )
    environment.keep_receipt(receipt.model_dump_json(indent=1) + "\n", started)
    must_hold(receipt, f"`trackstack models list -e {environment.name}` says more.")
    return receipt


def _refused(stranger: httpx.Client, address: str) -> str:
    status = stranger.post(address, json={}).status_code
    if status != httpx.codes.UNAUTHORIZED:
        raise MissError(f"{status}, not 401")
    return "401"


def _answers_alike(client: httpx.Client, address: str, told: ModelTrial) -> str:
    version = told.version
    if told.problem is not None:
        raise MissError(f"version {version} cannot be compared: {told.problem}")
    if told.example is None:
        status = client.get(address.replace("invocations", "ping")).status_code
        if status != httpx.codes.OK:
            raise MissError(f"version {version} answers a ping with {status}")
        return f"version {version} answers; it was logged without an input example to compare"
    answer = client.post(address, json=told.example)
    if answer.status_code != httpx.codes.OK:
        raise MissError(f"version {version} answers its own example with {answer.status_code}")
    try:
        served = answer.json()
    except ValueError as error:
        raise MissError(f"version {version} answers what is no JSON") from error
    shown = printable(answer.text[:80])
    if not alike(served, told.prediction):
        ours = json.dumps(told.prediction)[:80]
        raise MissError(f"version {version} answers {shown}, and its code {ours}")
    return f"version {version}: {shown}"


def alike(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same, but for how sums of fractions were rounded.

    What is no number is null in JSON; Python's writes NaN all the same.
    """
    one, other = (None if value != value else value for value in (one, other))  # noqa: PLR0124
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9)
    return bool(one == other)
