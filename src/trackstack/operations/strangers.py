"""What a stranger may see of a server: nothing. Each try says what it saw, or raises MissError."""

from secrets import token_hex

import httpx

from trackstack.credentials import new_password
from trackstack.operations.receipt import MissError

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

_LIVENESS = "/livez"
_UNAUTHORIZED = frozenset({401})


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


def tells_nothing(stranger: httpx.Client) -> str:
    """The one place that is open says that the server is up, and no more."""
    answer = stranger.get(_LIVENESS)
    if (answer.status_code, answer.text) != (httpx.codes.OK, "alive\n"):
        raise MissError(f"{_LIVENESS} answers {answer.status_code} {answer.text[:80]!r}")
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


def look_the_same(stranger: httpx.Client, known: str) -> str:
    """Nobody learns from the answers whether a name exists."""

    def knock(user: str) -> tuple[int, str, dict[str, str]]:
        answer = stranger.get("/", auth=(user, new_password()))
        headers = {key: value for key, value in answer.headers.items() if key != "date"}
        return answer.status_code, answer.text, headers

    wrong, unknown = knock(known), knock(f"nobody.{token_hex(4)}")
    if wrong != unknown or wrong[0] != httpx.codes.UNAUTHORIZED:
        raise MissError(f"a wrong password gets {wrong}, an unknown user {unknown}")
    return "401 twice, equal to the letter"
