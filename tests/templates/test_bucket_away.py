"""While the agent says that the bucket does not answer, nobody waits for an artifact."""

import json
from collections.abc import Iterator

import pytest
from exposed import ADA, Exposed, running
from front import USER, Answer

from engine.rooms import a_plan
from trackstack.agent import folders

OF_ARTIFACTS = (
    ("GET", "/api/2.0/mlflow-artifacts/artifacts?path=1/2/artifacts"),
    ("PUT", "/api/2.0/mlflow-artifacts/artifacts/1/2/artifacts/a.bin"),
    ("DELETE", "/api/2.0/mlflow-artifacts/artifacts/1/2/artifacts/a.bin"),
    ("GET", "/ajax-api/2.0/mlflow/artifacts/list?run_id=2"),
    ("GET", "/ajax-api/2.0/mlflow/logged-models/m-1/artifacts/directories"),
    ("GET", "/get-artifact?path=a.bin&run_uuid=2"),
)
OTHERS = ("/", "/static-files/static/js/artifact-page.js", "/api/2.0/mlflow/runs/get?run_id=2")


@pytest.fixture(scope="module")
def server() -> Iterator[Exposed]:
    with running("own", cloud=a_plan()) as made:
        yield made


@pytest.fixture
def away(server: Exposed) -> Iterator[None]:
    flag = server.machine / folders.BUCKET_AWAY
    flag.touch()
    yield
    flag.unlink()


def asked(server: Exposed, method: str, path: str, login: bytes | None = ADA) -> Answer:
    body = b"x" * 100_000 if method == "PUT" else b""
    return server.over_tls(server.request(path, method, login=login, body=body))


@pytest.mark.usefixtures("away")
@pytest.mark.parametrize(("method", "path"), OF_ARTIFACTS)
def test_who_asks_for_artifacts_is_told_at_once(server: Exposed, method: str, path: str) -> None:
    before = len(server.upstream.requests)
    answer = asked(server, method, path)
    assert answer.status == 503
    assert answer.values("Retry-After") == ["10"]
    assert "bucket" in json.loads(answer.body)["message"]
    assert len(server.upstream.requests) == before


@pytest.mark.usefixtures("away")
@pytest.mark.parametrize(("method", "path"), [*OF_ARTIFACTS, ("GET", "/.away")])
def test_a_stranger_is_told_nothing(server: Exposed, method: str, path: str) -> None:
    assert asked(server, method, path, login=None).status == 401


@pytest.mark.usefixtures("away")
@pytest.mark.parametrize(("login", "name"), [(ADA, USER), (b"ada:wrong", "")])
def test_the_log_names_whoever_is_told(server: Exposed, login: bytes, name: str) -> None:
    path = f"/api/2.0/mlflow-artifacts/artifacts/asked-by-{name or 'nobody'}"
    asked(server, "GET", path, login)
    (line,) = server.logged(path)
    assert json.loads(line)["user"] == name


@pytest.mark.usefixtures("away")
@pytest.mark.parametrize("path", OTHERS)
def test_all_else_goes_on(server: Exposed, path: str) -> None:
    assert asked(server, "GET", path).status == 200


@pytest.mark.parametrize(("method", "path"), OF_ARTIFACTS)
def test_once_it_answers_so_does_mlflow(server: Exposed, method: str, path: str) -> None:
    assert asked(server, method, path).status == 200
