"""MLflow's routes that run code, spend money or write anywhere are shut, however spelled."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from front import Front

from trackstack import lock

_LIST = (Path(__file__).parent / "mlflow_routes.txt").read_text().splitlines()
_SHUT_MODULES = {
    "mlflow.server.gateway_api",
    "mlflow.server.job_api",
    "mlflow.server.assistant.api",
}
_SHUT_WORDS = {
    *("gateway", "gateway-proxy", "assistant", "jobs", "invoke", "prompt-optimization"),
    *("presigned", "mpu", "presigned-download-url", "presigned-upload-url"),
    "upload-artifact",
}


@dataclass(frozen=True)
class Route:
    """One of MLflow's: its path with `<name>` or `{name:path}` where anything may stand."""

    module: str
    methods: tuple[str, ...]
    path: str

    @property
    def shut(self) -> bool:
        return self.module in _SHUT_MODULES or bool(_SHUT_WORDS & set(self.path.split("/")))

    def filled(self, value: str = "x1") -> str:
        return _HOLE.sub(value, self.path)

    def takes(self, sent: str) -> bool:
        """Whether MLflow would serve a raw path by this route: it decodes once, joins nothing."""
        parts = _HOLE.split(self.path)
        holes = _HOLE.findall(self.path)
        pattern = re.escape(parts[0])
        for hole, part in zip(holes, parts[1:], strict=True):
            pattern += (".*" if "path" in hole else "[^/]+") + re.escape(part)
        return re.fullmatch(pattern, unquote(sent.partition("?")[0]), re.DOTALL) is not None


_HOLE = re.compile(r"<[^>]*>|\{[^}]*\}")


def _routes() -> list[Route]:
    split = [line.split(" ") for line in _LIST if not line.startswith("#")]
    return [Route(module, tuple(methods.split(",")), path) for module, methods, path in split]


ASKED_BY_THE_PAGES = "/ajax-api/2.0/mlflow/gateway-proxy"
"""Shut too, but answered as by an MLflow without a gateway."""

ROUTES = _routes()
SHUT = [route for route in ROUTES if route.shut]
OPEN = [route for route in ROUTES if not route.shut]


def test_the_list_is_of_the_mlflow_that_a_new_environment_gets() -> None:
    assert _LIST[0] == f"# mlflow {lock.DEFAULT_MLFLOW}", "make it again: list_routes.py says how"


def test_the_list_holds_routes_of_every_shut_kind() -> None:
    missing = _SHUT_MODULES - {route.module for route in ROUTES}
    words = _SHUT_WORDS - {word for route in ROUTES for word in route.path.split("/")}
    assert (missing, words) == (set(), set())


@pytest.mark.parametrize("route", SHUT, ids=lambda route: f"{route.methods[0]}{route.path}")
def test_a_shut_route_answers_404_and_mlflow_never_hears_of_it(front: Front, route: Route) -> None:
    path = route.filled("shut1")
    before = len(front.upstream.requests)
    asked = {*route.methods, "GET", "POST", "OPTIONS", "HEAD", "X-OWN"}
    statuses = {method: front.ask_as_ada(f"{path}?q=/health", method).status for method in asked}
    assert statuses == dict.fromkeys(asked, 200 if path == ASKED_BY_THE_PAGES else 404)
    assert front.upstream.requests[before:] == []


def test_the_pages_are_told_that_there_is_no_gateway(front: Front) -> None:
    told = front.ask_as_ada(f"{ASKED_BY_THE_PAGES}?gateway_path=api/2.0/endpoints")
    assert json.loads(told.body) == {"endpoints": []}
    assert front.ask(ASKED_BY_THE_PAGES).status == 401


def test_every_other_route_passes(front: Front) -> None:
    refused = [
        f"{method} {path}"
        for route in OPEN
        for method in route.methods
        for path in [route.filled()]
        if front.ask_as_ada(path, method).status != 200
    ]
    assert refused == []


SPELLINGS: dict[str, Callable[[str], str]] = {
    "its first letter encoded": lambda path: f"/%{ord(path[1]):02x}{path[2:]}",
    "every letter encoded": lambda path: re.sub(r"\w", lambda m: f"%{ord(m[0]):02X}", path),
    "encoded twice": lambda path: re.sub(r"\w", lambda m: f"%25{ord(m[0]):02x}", path),
    "slashes encoded": lambda path: "/" + path[1:].replace("/", "%2f"),
    "all slashes encoded": lambda path: "/" + path.replace("/", "%2F"),
    "slashes doubled": lambda path: path.replace("/", "//"),
    "a slash in front": lambda path: f"/{path}",
    "a slash at the end": lambda path: f"{path}/",
    "two slashes at the end": lambda path: f"{path}//",
    "a dot folder in each place": lambda path: path.replace("/", "/./"),
    "an encoded dot folder": lambda path: path.replace("/", "/%2e/"),
    "in and out of a folder": lambda path: f"/static-files/..{path}",
    "in and out, encoded": lambda path: f"/static-files/%2e%2e{path}",
    "in and out, slash and all": lambda path: f"/static-files%2f..{path}",
    "out again at the end": lambda path: f"{path}/..",
    "far out again at the end": lambda path: path + "/.." * path.count("/") + "/health",
    "far out, encoded": lambda path: path + "/%2e%2E" * path.count("/") + "/health",
    "far out, slashes encoded": lambda path: path + "%2f.." * path.count("/") + "%2fhealth",
    "capitals": str.upper,
    "one capital": lambda path: re.sub(r"/([a-z])", lambda m: f"/{m[1].upper()}", path),
    "a parameter": lambda path: f"{path};x=1",
    "backslashes": lambda path: "/" + path[1:].replace("/", "\\"),
    "encoded backslashes": lambda path: "/" + path[1:].replace("/", "%5c"),
    "a dot at the end": lambda path: f"{path}.",
    "a space at the end": lambda path: f"{path}%20",
    "a newline at the end": lambda path: f"{path}%0a",
    "a fragment": lambda path: f"{path}#/health",
    "a query": lambda path: f"{path}?/../../health",
    "an encoded question mark": lambda path: f"{path}%3f",
    "an absolute address": lambda path: f"http://localhost{path}",
    "an absolute address with a detour": lambda path: f"http://localhost/x/..{path}",
    "an overlong slash": lambda path: path.replace("/", "/%c0%af"),
    "an encoded percent sign": lambda path: path.replace("/", "/%25"),
    "a letter of another script": lambda path: path.replace("a", quote("\u0430")),
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_no_spelling_of_a_path_reaches_a_shut_route(
    front: Front, spelling: Callable[[str], str]
) -> None:
    reached = []
    for route in SHUT:
        for sent in {spelling(route.filled(value)) for value in ("x1", "..", ".")}:
            before = len(front.upstream.requests)
            front.ask_as_ada(sent, route.methods[0])
            for seen in front.upstream.requests[before:]:
                reached += [f"{sent} -> {shut.path}" for shut in SHUT if shut.takes(seen.path)]
    assert reached == []


@pytest.mark.parametrize(
    "path",
    [
        "/api/2.0/mlflow-artifacts/artifacts/1/x/artifacts/a..b/..c/d../.hidden",
        "/api/2.0/mlflow-artifacts/artifacts/1/x/artifacts/gateway/jobs/invoke/assistant",
        "/api/2.0/mlflow-artifacts/artifacts/1/x/artifacts/a%20b%23%25%3f%2Bc",
        "/api/2.0/mlflow-artifacts/artifacts/1/x/artifacts/%E4%BD%A0%2Fx",
        "/get-artifact?path=../x&run_uuid=.",
    ],
)
def test_an_artifacts_name_is_passed_on_to_the_letter(front: Front, path: str) -> None:
    assert front.ask_as_ada(path).status == 200
    assert front.upstream.requests[-1].path == path
