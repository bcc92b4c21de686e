"""Proves a server from outside, as a client and as a stranger, and takes back what it logged."""

import hashlib
import os
import platform
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from secrets import token_hex

import httpx
from pydantic import AwareDatetime, BaseModel, ConfigDict

from trackstack import __version__
from trackstack.control.base import change
from trackstack.credentials import new_password
from trackstack.desired import Applied, Cleanup
from trackstack.environment import Environment
from trackstack.errors import NotProvenError, TrackstackError
from trackstack.operations import users
from trackstack.operations.users import Login
from trackstack.operations.waiting import wait_until_applied
from trackstack.tracking import Tracking, http_client

EXPERIMENT = "trackstack-verify"
LIVENESS = "/livez"

# One of each kind of place: pages, files, every version of the API, artifacts, what is shut.
LOCATIONS = (
    "/", "/static-files/index.html", "/graphql", "/health", "/version", "/metrics",
    "/api/2.0/mlflow/experiments/search", "/api/3.0/mlflow/traces/search",
    "/ajax-api/2.0/mlflow/experiments/search", "/ajax-api/3.0/mlflow/server-info",
    "/api/2.0/mlflow-artifacts/artifacts", "/ajax-api/2.0/mlflow-artifacts/artifacts",
    "/get-artifact", "/model-versions/get-artifact", "/v1/traces",
    "/gateway/any/mlflow/invocations", "/ajax-api/3.0/mlflow/assistant/config",
    "/ajax-api/3.0/jobs/1", "/ajax-api/2.0/mlflow/gateway-proxy", "/nowhere",
)  # fmt: skip
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

_UNAUTHORIZED = frozenset({401})
_MISDIRECTED = frozenset({421})
_METRICS = 1000
_ARTIFACT_BYTES = 64 << 20
_CHUNK = 1 << 20
_ABANDONED_MS = 15 * 60 * 1000
_MODEL_TAG = "trackstack.model"


class Check(BaseModel):
    """One thing that was tried.

    Attributes:
        tried: what, in a few words.
        seen: what came of it.
        milliseconds: how long it took.
    """

    model_config = ConfigDict(frozen=True)

    tried: str
    held: bool
    seen: str
    milliseconds: float


class Receipt(BaseModel):
    """What was proved, when, of which server.

    Attributes:
        environment: its name; None for a server that is known by its address only.
        quick: whether only reads were tried.
    """

    model_config = ConfigDict(frozen=True)

    environment: str | None
    url: str
    kit: str = __version__
    at: AwareDatetime
    quick: bool
    checks: tuple[Check, ...]

    @property
    def proven(self) -> bool:
        """Whether every check held."""
        return all(check.held for check in self.checks)


OnCheck = Callable[[Check], None]


class MissError(Exception):
    """A check did not hold; the text says what was seen."""


@dataclass
class Prover:
    """Runs checks and keeps what each saw."""

    on_check: OnCheck
    checks: list[Check] = field(default_factory=list)

    def check(self, tried: str, attempt: Callable[[], str]) -> bool:
        """Run one check; returns whether it held."""
        started = time.monotonic()
        try:
            held, seen = True, attempt()
        except MissError as miss:
            held, seen = False, str(miss)
        except TrackstackError as error:
            held, seen = False, error.sentence
        except httpx.HTTPError as error:
            held, seen = False, f"no answer: {error or type(error).__name__}"
        milliseconds = round((time.monotonic() - started) * 1000, 1)
        result = Check(tried=tried, held=held, seen=seen, milliseconds=milliseconds)
        self.checks.append(result)
        self.on_check(result)
        return held


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
    if not environment.target.running():
        raise NotProvenError(
            f"Environment {environment.name!r} does not run.",
            f"Start it with `trackstack deploy local -e {environment.name}`.",
        )
    prover = Prover(on_check)
    url = environment.url
    must_be_known(url)
    started = datetime.now(UTC)
    with http_client(url, environment.authorities()) as stranger:
        if quick:
            _prove_quickly(prover, environment, stranger)
        else:
            with environment.held("verifying", "trackstack verify"):
                _prove_all(prover, environment, stranger)
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


def must_hold(receipt: Receipt, hint: str) -> None:
    """Raise NotProvenError, with a hint, that names each check that did not hold."""
    if not receipt.proven:
        missed = "; ".join(f"{c.tried}: {c.seen}" for c in receipt.checks if not c.held)
        raise NotProvenError(f"{receipt.url} is not proven. {missed}", hint)


def must_be_known(url: str) -> None:
    """Raise NotProvenError when this computer cannot find the server's name."""
    host = httpx.URL(url).host
    try:
        socket.getaddrinfo(host, None)
    except OSError as error:
        raise NotProvenError(
            f"{host} is a name that this computer does not know, so {url} cannot be tried.",
            "Enter the name in your DNS or in /etc/hosts, then run `trackstack verify`.",
        ) from error


def _prove_quickly(prover: Prover, environment: Environment, stranger: httpx.Client) -> None:
    prover.check("a stranger is refused", lambda: refused(stranger, LOCATIONS[:1], METHODS[:1]))
    login = users.own_login(environment)
    if login is not None:
        prover.check(f"{login.user} can read", lambda: _reads(environment, login))


def _prove_all(prover: Prover, environment: Environment, stranger: httpx.Client) -> None:
    prover.check("a stranger is refused everywhere", lambda: refused(stranger, LOCATIONS, METHODS))
    prover.check("the liveness path tells nothing", lambda: _tells_nothing(stranger))
    prover.check("a foreign Host is refused", lambda: foreign_host(stranger, _MISDIRECTED))
    with users.temporary(environment, "verify") as login:
        prover.check(
            "a wrong password and an unknown user look the same",
            lambda: _look_the_same(stranger, login.user),
        )
        with environment.tracking(login.user, login.password) as tracking:
            _prove_tracking(prover, environment, tracking)


def _prove_tracking(prover: Prover, environment: Environment, tracking: Tracking) -> None:
    run: dict[str, str] = {}
    model = _model_name()

    def log_run() -> str:
        run.update(_start_run(tracking))
        return f"run {run['run_id']}"

    if prover.check(f"a run is logged in the experiment {EXPERIMENT}", log_run):
        prover.check(
            f"{_METRICS:,} metrics are logged and read back", lambda: _metrics(tracking, run)
        )
        prover.check(
            f"an artifact of {_ARTIFACT_BYTES >> 20} MB goes up and comes back the same",
            lambda: _artifact(tracking, run),
        )
        prover.check(
            "a model version is registered and found by its alias",
            lambda: _registry(tracking, run, model),
        )
    prover.check("all of it is removed for good", lambda: _clean_up(environment, tracking))


def refused(
    stranger: httpx.Client,
    paths: tuple[str, ...],
    methods: tuple[str, ...],
    right: frozenset[int] = _UNAUTHORIZED,
) -> str:
    """Try every method on every path without a login; any other status than a right one misses."""
    seen = set()
    for path in paths:
        for method in methods:
            status = stranger.request(method, path).status_code
            if status not in right:
                raise MissError(f"{method} {path} answers {status} without a login{_but(right)}")
            seen.add(status)
    count = len(paths) * len(methods)
    told = ", ".join(str(status) for status in sorted(seen))
    return told if count == 1 else f"{told} for each of {count} requests"


def _tells_nothing(stranger: httpx.Client) -> str:
    answer = stranger.get(LIVENESS)
    if (answer.status_code, answer.text) != (httpx.codes.OK, "alive\n"):
        raise MissError(f"{LIVENESS} answers {answer.status_code} {answer.text[:80]!r}")
    return "200 and one word"


def foreign_host(client: httpx.Client, right: frozenset[int]) -> str:
    """Call the server by names that are not its own; any other status than a right one misses."""
    seen = set()
    for host in ("foreign.example", "10.evil.example"):
        status = client.get("/", headers={"Host": host}).status_code
        if status not in right:
            raise MissError(f"the Host {host} is answered with {status}{_but(right)}")
        seen.add(status)
    return ", ".join(str(status) for status in sorted(seen))


def _but(right: frozenset[int]) -> str:
    """What would have been right, where that is one status and not a choice of many."""
    return f", not {min(right)}" if len(right) == 1 else ""


def _look_the_same(stranger: httpx.Client, known: str) -> str:
    def knock(user: str) -> tuple[int, str, dict[str, str]]:
        answer = stranger.get("/", auth=(user, new_password()))
        headers = {key: value for key, value in answer.headers.items() if key != "date"}
        return answer.status_code, answer.text, headers

    wrong, unknown = knock(known), knock(f"nobody.{token_hex(4)}")
    if wrong != unknown or wrong[0] != httpx.codes.UNAUTHORIZED:
        raise MissError(f"a wrong password gets {wrong}, an unknown user {unknown}")
    return "401 twice, equal to the letter"


def _reads(environment: Environment, login: Login) -> str:
    with environment.tracking(login.user, login.password) as tracking:
        tracking.read()
    return "200"


def _start_run(tracking: Tracking) -> dict[str, str]:
    found = tracking.experiment(EXPERIMENT)
    if found is None:
        experiment = tracking.create_experiment(EXPERIMENT)
    else:
        experiment = str(found["experiment_id"])
        if found["lifecycle_stage"] == "deleted":
            tracking.restore_experiment(experiment)
    info = tracking.create_run(experiment, platform.node(), _now_ms())
    # A logged model of its own, named on the run: the clean-up must name one, and a deleted
    # model is found by nobody.
    model = tracking.create_model(experiment, str(info["run_id"]), "verify")
    tracking.tag_run(str(info["run_id"]), _MODEL_TAG, model)
    return {
        "run_id": str(info["run_id"]),
        "experiment_id": experiment,
        "artifact_uri": str(info["artifact_uri"]),
    }


def _metrics(tracking: Tracking, run: dict[str, str]) -> str:
    values = [step / 7 for step in range(_METRICS)]
    tracking.log_metrics(run["run_id"], "loss", values, _now_ms())
    found = tracking.metrics(run["run_id"], "loss")
    if found != values:
        raise MissError(f"{len(found)} came back, not the {len(values)} that were logged")
    return "equal"


def _artifact(tracking: Tracking, run: dict[str, str]) -> str:
    path = f"{run['artifact_uri'].removeprefix('mlflow-artifacts:').lstrip('/')}/verify.bin"
    sent, received = hashlib.sha256(), hashlib.sha256()

    def content() -> Iterator[bytes]:
        for _ in range(_ARTIFACT_BYTES // _CHUNK):
            chunk = os.urandom(_CHUNK)
            sent.update(chunk)
            yield chunk

    tracking.upload(path, content())
    for chunk in tracking.download(path):
        received.update(chunk)
    if sent.digest() != received.digest():
        raise MissError(f"sent {sent.hexdigest()}, received {received.hexdigest()}")
    return f"sha256 {sent.hexdigest()[:16]}…"


def _registry(tracking: Tracking, run: dict[str, str], model: str) -> str:
    if any(tracking.registered(like=model)):
        tracking.unregister(model)
    version = tracking.register(model, run["run_id"], f"{run['artifact_uri']}/model")
    tracking.set_alias(model, "proven", version)
    found = tracking.version_of_alias(model, "proven")
    if found != version:
        raise MissError(f"the alias leads to version {found}, not {version}")
    return f"version {version}"


def _clean_up(environment: Environment, tracking: Tracking) -> str:
    """Remove this verify's traces, and those of one that was killed before.

    Only one verify runs at a time on a computer, so all that carries this computer's name is
    this verify's or a dead one's; what another computer's left is taken after 15 minutes.
    """
    for registered in list(tracking.registered(like=f"{EXPERIMENT}-%")):
        if registered["name"] == _model_name() or _abandoned(registered["creation_timestamp"]):
            tracking.unregister(registered["name"])
    found = tracking.experiment(EXPERIMENT)
    if found is None:
        return "there was nothing"
    experiment = str(found["experiment_id"])
    runs = list(tracking.runs(experiment))
    for info in (each["info"] for each in runs if each["info"]["lifecycle_stage"] == "active"):
        if info["run_name"] != platform.node() and not _abandoned(info["start_time"]):
            return "left to another computer's verify, which is at work now"
        tracking.delete_run(info["run_id"])
    tags = (tag for each in runs for tag in each["data"].get("tags", []))
    models = {tag["value"] for tag in tags if tag["key"] == _MODEL_TAG}
    for info in list(tracking.models(experiment)):
        models.add(info["model_id"])
        tracking.delete_model(info["model_id"])
    tracking.delete_experiment(experiment)
    if runs and models:
        _collect(environment, experiment, [each["info"]["run_id"] for each in runs], sorted(models))
    if tracking.experiment(EXPERIMENT) is not None:
        raise MissError(f"the experiment {EXPERIMENT} is still in the database")
    return f"{len(runs)} run{'s' if len(runs) != 1 else ''}, with artifacts and models"


def _collect(environment: Environment, experiment: str, runs: list[str], models: list[str]) -> None:
    content: dict[str, object] = {
        "runs": tuple(runs),
        "models": tuple(models),
        "experiment": experiment,
    }
    written = change(environment.target.store, Cleanup, "clean up after verify", lambda _: content)
    wait_until_applied(environment, Applied(cleanup=written.generation))


def _model_name() -> str:
    return f"{EXPERIMENT}-{hashlib.sha256(platform.node().encode()).hexdigest()[:8]}"


def _abandoned(started_ms: int | str) -> bool:
    return _now_ms() - int(started_ms) > _ABANDONED_MS


def _now_ms() -> int:
    return int(time.time() * 1000)
