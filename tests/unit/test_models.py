"""Served models: what is decided about them, with tables."""

import errno
import io
import os
import socket
import tarfile
import time
import venv
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from ipaddress import ip_network
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kits import eventually
from trackstack.agent import folders
from trackstack.agent.machine import StepError
from trackstack.agent.models import (
    bubblewrap,
    connections,
    environments,
    keeper,
    outlet,
    registry,
    server,
    watchdog,
)
from trackstack.agent.models.archives import unpack
from trackstack.agent.models.asked import Asked
from trackstack.agent.models.compiling import compile_packages, compile_soon
from trackstack.agent.models.inside import EXAMPLE
from trackstack.agent.models.keeper import Keeper
from trackstack.agent.models.mlflow import AwayError
from trackstack.agent.models.registry import Found, NotFoundError
from trackstack.agent.models.requirements import Wanted, wanted_by
from trackstack.agent.models.services import service_of
from trackstack.agent.models.settings import Settings, settings_file
from trackstack.agent.models.trouble import Trouble, after
from trackstack.agent.models.walls import Walls
from trackstack.control.base import change, read
from trackstack.control.directory import DirectoryStore
from trackstack.desired import (
    ModelReport,
    Models,
    ModelTrial,
    ObservedModels,
    ServedModel,
    audit_key,
)
from trackstack.environment import Environment
from trackstack.errors import BusyError, NotProvenError, UsageError
from trackstack.operations import doctor, models
from trackstack.operations.verify_model import alike
from unit.making import NOON, FakeMachine, change_of

RUN = "0123456789abcdef" * 2
LOGGED = f"m-{RUN}"
GOOD_URIS = [
    "models:/churn/3",
    "models:/churn/Production",
    "models:/churn/latest",
    "models:/churn@champion",
    "models:/Churn of 2026, new/3",
    f"models:/{LOGGED}",
    f"runs:/{RUN}/model",
    f"runs:/{RUN}/models/best",
]
BAD_URIS = [
    "churn",
    "models:/churn",
    "models:/churn/3/4",
    "models:/a/b@c",
    "models:/../3",
    "models:/churn@",
    "models:/churn@a b",
    "models:/churn/3\n",
    "runs:/12/model",
    f"runs:/{RUN}",
    f"runs:/{RUN}/a//b",
    f"runs:/{RUN}/../x",
    "/etc/passwd",
    "s3://bucket/model",
    "http://169.254.169.254/latest",
    "",
]


@pytest.mark.parametrize("uri", GOOD_URIS)
def test_a_models_uri_is_taken(uri: str) -> None:
    assert models.checked_uri(uri) == uri
    assert ServedModel(uri=uri).uri == uri


@pytest.mark.parametrize("uri", BAD_URIS)
def test_what_is_no_models_uri_is_refused(uri: str) -> None:
    with pytest.raises(UsageError, match="is not the URI of a model"):
        models.checked_uri(uri)


@pytest.mark.parametrize(
    ("uri", "asked", "name"),
    [
        ("models:/churn@champion", None, "churn"),
        ("models:/Churn of 2026/3", None, "churn-of-2026"),
        ("models:/Churn/3", "other", "other"),
        (f"runs:/{RUN}/model", "mine", "mine"),
        (f"models:/{'a' * 100}/3", None, "a" * 40),
    ],
)
def test_a_model_is_served_under_its_own_name_or_the_one_asked_for(
    uri: str, asked: str | None, name: str
) -> None:
    assert models.name_for(uri, asked) == name


@pytest.mark.parametrize(
    ("uri", "asked"),
    [
        (f"runs:/{RUN}/model", None),
        ("models:/東京/1", None),
        ("models:/churn/1", "../x"),
        ("models:/churn/1", "A"),
        ("models:/churn/1", ""),
    ],
)
def test_a_model_without_a_fitting_name_asks_for_one(uri: str, asked: str | None) -> None:
    with pytest.raises(UsageError) as raised:
        models.name_for(uri, asked)
    assert "--as" in str(raised.value.hint)


def test_a_change_of_models_has_an_audit_entry_of_its_own() -> None:
    document = Models(models={"churn": ServedModel(uri="models:/churn/1")}, change=change_of())
    assert Models.from_bytes(document.to_bytes()) == document
    assert audit_key(document).endswith("/models-00000001.json")


VERSION = {"name": "churn", "version": "3", "creation_timestamp": 7}
ANSWERS: dict[tuple[str, str], dict[str, Any]] = {
    ("registered-models/alias", "churn champion"): {"model_version": VERSION},
    ("model-versions/get", "churn 3"): {"model_version": VERSION},
    ("model-versions/get-download-uri", "churn 3"): {"artifact_uri": "mlflow-artifacts:/1/a"},
    ("registered-models/get-latest-versions", "churn"): {
        "model_versions": [{**VERSION, "version": "2"}, VERSION]
    },
    ("registered-models/get-latest-versions", "churn Staging"): {"model_versions": []},
    ("runs/get", RUN): {
        "run": {
            "info": {"artifact_uri": "mlflow-artifacts:/0/r"},
            "outputs": {"model_outputs": [{"model_id": LOGGED}]},
        }
    },
    (f"logged-models/{LOGGED}", ""): {
        "model": {"info": {"name": "model", "artifact_uri": "mlflow-artifacts:/0/m"}}
    },
}


def mlflow(method: str, query: Mapping[str, str]) -> dict[str, Any] | None:
    return ANSWERS.get((method, " ".join(query.values())))


OF_REGISTRY = Found(version="3", files="mlflow-artifacts:/1/a", created="7")
OF_RUN = Found(version=RUN, files="mlflow-artifacts:/0/r/model", also=("mlflow-artifacts:/0/m",))


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("models:/churn/3", OF_REGISTRY),
        ("models:/churn@champion", OF_REGISTRY),
        ("models:/churn/latest", OF_REGISTRY),
        (f"models:/{LOGGED}", Found(version=LOGGED, files="mlflow-artifacts:/0/m")),
        (f"runs:/{RUN}/model", OF_RUN),
        (f"runs:/{RUN}/other", Found(version=RUN, files="mlflow-artifacts:/0/r/other")),
    ],
)
def test_a_uri_is_found_in_what_mlflow_has(uri: str, found: Found) -> None:
    assert registry.find(uri, mlflow) == found


@pytest.mark.parametrize(
    "uri",
    [
        *("models:/churn/4", "models:/churn@other", "models:/churn/Staging", "models:/none/latest"),
        *(f"models:/m-{'0' * 32}", f"runs:/{'0' * 32}/model"),
    ],
)
def test_what_mlflow_does_not_have_is_said_in_a_sentence(uri: str) -> None:
    with pytest.raises(NotFoundError, match=r"^MLflow has no "):
        registry.find(uri, mlflow)


PLAIN = (
    "mlflow==3.17.2\nnumpy<3,>=2 # as found\nscikit-learn[x]==1.5.0\npandas; python_version<'4'\n"
)


@pytest.mark.parametrize(
    ("requirements", "plain"),
    [
        (PLAIN, True),
        (f"-c constraints.txt\n{PLAIN}", True),
        ("./evil.tar.gz", False),
        ("-r /etc/passwd", False),
        ("--index-url https://elsewhere.example/simple", False),
        ("evil @ https://elsewhere.example/evil.whl", False),
        ("git+https://elsewhere.example/evil", False),
        ("-e .", False),
        ("wheels/mine-1.0-py3-none-any.whl", False),
        ("mine-1.0-py3-none-any.whl", False),
        ("mine.tar.gz", False),
    ],
)
def test_what_names_more_than_packages_is_installed_within_the_walls(
    requirements: str, plain: bool
) -> None:
    assert Wanted(python="3.11", requirements=requirements).is_plain is plain


def model_in(folder: Path, requirements: str, python: str = "3.11.7") -> Path:
    folder.mkdir()
    (folder / "requirements.txt").write_text(requirements)
    (folder / "python_env.yaml").write_text(f"python: {python}\nbuild_dependencies:\n- pip\n")
    return folder


def test_models_with_equal_requirements_share_an_environment(tmp_path: Path) -> None:
    one = wanted_by(model_in(tmp_path / "one", PLAIN), "3.17.2")
    other = wanted_by(model_in(tmp_path / "other", PLAIN, "3.11.9"), "3.17.2")
    third = wanted_by(model_in(tmp_path / "third", PLAIN, "3.12.1"), "3.17.2")
    assert one.id == other.id
    assert one.id != third.id


def test_models_that_bring_packages_along_do_not_share_them(tmp_path: Path) -> None:
    wanted = [
        wanted_by(model_in(tmp_path / name, f"{PLAIN}./own.tar.gz\n"), "3.17.2")
        for name in ("one", "other")
    ]
    assert wanted[0].id != wanted[1].id


@pytest.mark.parametrize(
    ("requirements", "added"),
    [
        ("numpy==2", True),
        ("mlflow-extras==1", True),
        ("mlflow==2.1", False),
        ("mlflow-skinny==3.1", False),
    ],
)
def test_a_model_that_names_no_mlflow_gets_the_servers(
    tmp_path: Path, requirements: str, added: bool
) -> None:
    wanted = wanted_by(model_in(tmp_path / "model", requirements), "3.17.2")
    assert ("mlflow==3.17.2" in wanted.requirements) is added


def test_a_model_that_says_no_python_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="which Python"):
        wanted_by(tmp_path, "3.17.2")


@pytest.mark.parametrize(
    ("address", "may"),
    [
        ("151.101.0.223", True),
        ("2a04:4e42::223", True),
        ("10.1.2.3", True),  # a company's mirror
        ("127.0.0.1", False),
        ("127.8.8.8", False),
        ("::1", False),
        ("0.0.0.0", False),
        ("169.254.169.254", False),
        ("::ffff:169.254.169.254", False),
        ("fe80::1%eth0", False),
        ("fd00:ec2::254", False),
        ("100.100.100.200", False),
        ("224.0.0.1", False),
    ],
)
def test_the_way_out_leads_to_others_only(address: str, may: bool) -> None:
    assert outlet.may_be_reached(address) is may


ASKED = b"GET http://pypi.example/x HTTP/1.1\r\nHost: pypi.example\r\n"


@pytest.mark.parametrize(
    ("head", "whole", "more"),
    [
        (b"\r\n", b"\r\n", 0),
        (b"Connection: keep-alive\r\n\r\n", b"\r\n", 0),
        (b"\r\nCONNECT 127.0.0.1:22 HTTP/1.1\r\n\r\n", b"\r\n", 0),
        (b"Content-Length: 3\r\n\r\nabcGET http://x", b"Content-Length: 3\r\n\r\nabc", 0),
        (b"content-length: 9\r\n\r\nabc", b"content-length: 9\r\n\r\nabc", 6),
    ],
)
def test_through_a_proxy_goes_the_request_that_was_looked_at_and_no_second_one(
    head: bytes, whole: bytes, more: int
) -> None:
    fields, _, body = whole.partition(b"\r\n\r\n") if len(whole) > 2 else (b"", b"", b"")
    kept = fields + b"\r\n" if fields else b""
    passed = ASKED + kept + b"Connection: close\r\n\r\n" + body
    assert outlet.only_one(ASKED + head) == (passed, more)


@pytest.mark.parametrize(
    "field",
    [
        b"Transfer-Encoding: chunked",
        b"Content-Length: 1\r\nContent-Length: 99",
        b"Content-Length: 1\r\ncontent-length : 99",
        b"Content-Length: -1",
        b"Content-Length: 1\r\n\tX: folded",
        b"X: 1\n\nGET http://127.0.0.1/ HTTP/1.1",
        b"X: 1\rContent-Length: 99",
        b"no field",
    ],
)
def test_a_request_that_proxies_might_read_otherwise_is_refused(field: bytes) -> None:
    with pytest.raises(ValueError, match="not plain"):
        outlet.only_one(ASKED + field + b"\r\n\r\n")


def test_a_proxy_between_hears_one_request_of_each_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = b""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        monkeypatch.setenv("no_proxy", "")
        with outlet.running(tmp_path / "door"), socket.socket(socket.AF_UNIX) as asker:
            asker.settimeout(10)
            asker.connect(str(tmp_path / "door"))
            asker.sendall(b"POST http://192.0.2.1/x HTTP/1.1\r\nContent-Length: 2\r\n\r\n1")
            between, _ = proxy.accept()
            with between:
                between.settimeout(10)
                while not heard.endswith(b"\r\n\r\n1"):
                    heard += between.recv(65536)
                asker.sendall(b"2CONNECT 127.0.0.1:22 HTTP/1.1\r\n\r\n")
                heard += between.recv(65536)
                between.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                between.shutdown(socket.SHUT_WR)
                assert asker.recv(65536).startswith(b"HTTP/1.1 200")
                with suppress(ConnectionError):
                    heard += between.recv(65536)
    assert heard.endswith(b"\r\n\r\n12"), heard
    assert b"CONNECT" not in heard


def test_from_a_container_the_way_out_leads_to_nothing_beside_it() -> None:
    beside = [ip_network("172.18.0.0/16"), ip_network("fd00:1::/64")]
    for address in ("172.18.0.1", "172.18.200.7", "fd00:1::9", "::ffff:172.18.0.3"):
        assert not outlet.may_be_reached(address, beside), address
    assert outlet.may_be_reached("172.19.0.1", beside)
    assert ip_network("127.0.0.0/8") in outlet.networks_here()


TABLE = """\
Num       RefCount Protocol Flags    Type St Inode Path
0000: 00000002 00000000 00010000 0001 01 1 run/models/model-a.1/socket.new
0000: 00000003 00000000 00000000 0001 03 2 run/models/model-a.1/socket.new
0000: 00000003 00000000 00000000 0001 02 3 run/models/model-a.1/socket.new
0000: 00000003 00000000 00000000 0001 03 4 run/models/model-b.1/socket.new
0000: 00000003 00000000 00000000 0001 03 5
"""


def test_connections_are_counted_without_the_listener_and_the_others() -> None:
    assert connections.count(TABLE, Path("run/models/model-a.1/socket")) == 2
    assert connections.count(TABLE, Path("run/models/model-c.1/socket")) == 0


def test_a_version_with_other_limits_is_another_service() -> None:
    model = ServedModel(uri="models:/churn/3")
    same = service_of("churn", OF_REGISTRY, ServedModel(uri="models:/churn@champion"), walled=True)
    assert service_of("churn", OF_REGISTRY, model, walled=True) == same
    larger = model.model_copy(update={"memory_mb": 4096})
    assert service_of("churn", OF_REGISTRY, larger, walled=True) != same
    assert service_of("churn", OF_REGISTRY, model, walled=False) != same


def test_each_failure_doubles_the_pause_up_to_ten_minutes() -> None:
    trouble, pauses = None, []
    for _ in range(10):
        trouble = after(trouble, "model-churn.1", "it fails", now=100)
        pauses.append(trouble.again_at - 100)
    assert pauses == [5, 10, 20, 40, 80, 160, 320, 600, 600, 600]


def line(path: str, user: str = "ada", method: str = "POST", seconds: float = 0.004) -> bytes:
    return f'{{"user":"{user}","method":"{method}","path":"{path}","seconds":{seconds}}}\n'.encode()


def test_requests_are_counted_by_model_and_only_those_that_were_let_in() -> None:
    asked = Asked()
    asked.take(
        [
            line("/serve/churn/invocations", seconds=0.002),
            line("/serve/churn/invocations", seconds=0.004),
            line("/serve/churn/invocations", seconds=0.009),
            line("/serve/churn/invocations", user=""),
            line("/serve/churn/invocations", method="GET"),
            line("/serve/churn/ping"),
            line("/serve/other/invocations"),
            b'{"user":"ada","path":"/serve/churn/invoc',
            line("/api/2.0/mlflow/runs/create"),
        ]
    )
    assert asked.counts == {"churn": 3, "other": 1}
    assert asked.p50_ms("churn") == 4
    assert asked.p50_ms("none") is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"predictions": [1.0, 2.0]}, {"predictions": [1.0 + 1e-15, 2.0]}, True),
        ({"predictions": [1.0]}, {"predictions": [1.1]}, False),
        ({"predictions": [1.0]}, {"predictions": [1.0, 1.0]}, False),
        ({"a": 1}, {"b": 1}, False),
        (float("nan"), float("nan"), True),
        ([float("nan")], [None], True),
        ([0.0], [None], False),
        (["x", None], ["x", None], True),
        (["x"], ["y"], False),
    ],
)
def test_answers_are_alike_but_for_the_rounding(one: object, other: object, same: bool) -> None:
    assert alike(one, other) is same


def archive_of(folder: Path, *entries: tarfile.TarInfo) -> Path:
    """An archive whose files all say 'built'."""
    made = folder / "built.tar"
    with tarfile.open(made, "w") as packed:
        for entry in entries:
            entry.size = 5 if entry.isfile() else 0
            packed.addfile(entry, io.BytesIO(b"built"))
    return made


def entry(name: str, kind: bytes = tarfile.REGTYPE, to: str = "", mode: int = 0o644) -> Any:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.mode = kind, to, mode
    return made


def test_what_was_built_is_put_beside_what_the_environment_has(tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin/python").symlink_to("/usr/bin/python3")
    (environment / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (environment / "lib64").symlink_to("lib")
    secret = tmp_path / "secret"
    secret.write_text("nobody's")
    built = archive_of(
        tmp_path,
        entry("./lib/python3.11/site-packages/evil.py"),
        entry("./bin/tool", mode=0o755),
        entry("./bin/python"),
        entry("pyvenv.cfg"),
        entry("../outside"),
        entry("lib/../../outside"),
        entry("/outside"),
        entry("lib/link", tarfile.SYMTYPE, str(tmp_path)),
        entry("lib/link/outside"),
        entry("lib/same", tarfile.LNKTYPE, str(secret)),
        entry("lib/pipe", tarfile.FIFOTYPE),
    )
    unpack(built, environment)
    files = {str(f.relative_to(environment)) for f in environment.rglob("*") if not f.is_dir()}
    assert files == {
        *("bin/python", "bin/tool", "pyvenv.cfg", "lib/link/outside"),
        "lib/python3.11/site-packages/evil.py",
    }
    assert (environment / "pyvenv.cfg").read_text() == "home = /usr/bin\n"
    assert (environment / "bin/python").readlink() == Path("/usr/bin/python3")
    assert os.access(environment / "bin/tool", os.X_OK)
    assert not (tmp_path / "outside").exists()


def test_an_archive_that_is_none_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "built.tar").write_bytes(b"no archive" * 200)
    with pytest.raises(StepError, match="is damaged"):
        unpack(tmp_path / "built.tar", tmp_path)


@pytest.mark.parametrize(
    ("report", "level", "told"),
    [
        ({"healthy": True, "state": "serving"}, "ok", "these answer: churn"),
        ({"healthy": True, "reason": "no weights"}, "warning", "stays at version 3: no weights"),
        ({"reason": "no weights"}, "bad", "does not answer: no weights"),
        ({"doing": "fetching version 4"}, "bad", "does not answer; fetching version 4"),
        ({}, "bad", "'churn' does not answer."),
    ],
)
def test_the_doctor_says_how_a_model_does(report: dict[str, Any], level: str, told: str) -> None:
    seen = ModelReport(desired=1, uri="models:/churn/3", version="3", **report)
    (finding,) = doctor.model_findings("local", {"churn": seen})
    assert finding.level == level
    assert told in finding.sentence


class FakeWalls(FakeMachine):
    """Servers that only seem to run; `taken` is what each has in memory, if that is known."""

    taken: int | None = None
    can_be: bool = True

    def there(self) -> bool:
        """Whether walls can be put up."""
        return self.can_be

    def memory(self, _: str) -> int | None:
        """Of every server."""
        return self.taken


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keeper:
    """The keeper of a model whose server runs and, as nobody listens at its socket, is mute."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run/served").mkdir(parents=True)
    (tmp_path / "run/served/churn").symlink_to("../models/model-churn.12345678")
    monkeypatch.setattr(keeper.registry, "find", lambda *_: (_ for _ in ()).throw(AwayError("")))
    walls = FakeWalls()
    walls.up.add("model-churn.12345678")
    return Keeper("churn", ServedModel(uri="models:/churn/3"), 1, cast("Walls", walls))


def _look(keeper: Keeper) -> None:
    """What both of its threads come to."""
    keeper.look()
    keeper.look_after()
    keeper.look()


def test_a_server_that_loads_for_minutes_is_let_be(
    served: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    monkeypatch.setattr(watchdog.time, "monotonic", lambda: now + 200)
    _look(served)
    assert cast("FakeWalls", served.walls).told == []


def test_while_mlflow_is_away_nothing_is_said_of_what_was_asked_for_since(served: Keeper) -> None:
    _look(served)
    assert (served.report.desired, served.report.state) == (1, "preparing")
    assert served.report.doing == "waiting for MLflow"


def _place(service: str) -> None:
    settings = Settings(
        version="1",
        files="f",
        environment="e",
        memory_mb=512,
        request_mb=1,
        seconds=5,
        walled=True,
    )
    Path("services").mkdir()
    settings_file(service).write_text(settings.model_dump_json())


def test_walls_that_are_mended_count_and_what_worked_is_not_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program, tries = tmp_path / "bwrap", tmp_path / "tries"
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    for status, found, tried in ((1, False, 1), (0, True, 2), (1, True, 2)):
        program.write_text(f"#!/bin/sh\necho >>{tries}\nexit {status}\n")
        program.chmod(0o755)
        assert (bubblewrap.there(), len(tries.read_text())) == (found, tried)


def test_what_was_placed_within_walls_is_run_nowhere_else(
    served: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = "model-churn.12345678"
    _place(service)
    found = Found(version="1", files="mlflow-artifacts:/1/x")
    monkeypatch.setattr(keeper.registry, "find", lambda *_: found)
    cast("FakeWalls", served.walls).can_be = False
    served.trial = 7
    _look(served)
    assert "the walls that it was placed in cannot be put up" in str(served.report.reason)
    assert served.tried is None, "its code predicted without walls"
    assert cast("FakeWalls", served.walls).told == []
    monkeypatch.setattr(server.bubblewrap, "there", lambda: False)
    monkeypatch.setattr(server.os, "execve", lambda *_: pytest.fail("it was started"))
    with pytest.raises(SystemExit, match="cannot be put up now"):
        server.main(service)


def test_a_server_is_measured_by_its_own_limit_and_not_by_the_next_ones(served: Keeper) -> None:
    _place("model-churn.12345678")
    walls = cast("FakeWalls", served.walls)
    walls.taken = 300 << 20
    served.wanted = ServedModel(uri="models:/churn/3", memory_mb=256)
    _look(served)
    assert walls.told == [], "what served before was ended by a limit that it never had"
    walls.taken = 600 << 20
    _look(served)
    assert "more than the 512 MB" in str(served.report.reason)


def test_what_cannot_be_stored_is_tried_again_later_and_leaves_nothing(
    served: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Found(version="2", files="mlflow-artifacts:/1/x")
    tries = []

    def no_space(_: object, staged: Path) -> None:
        tries.append(staged)
        staged.mkdir(parents=True)
        raise OSError(errno.ENOSPC, "No space left on device", "model.pkl")

    monkeypatch.setattr(keeper.registry, "find", lambda *_: found)
    monkeypatch.setattr(keeper.mlflow, "download", no_space)
    for _ in range(3):
        _look(served)
    assert len(tries) == 1, "it was fetched again at once"
    assert not tries[0].exists()
    assert served.report.reason == "No space left on device: model.pkl"


def test_a_server_that_answers_no_more_is_started_again(
    served: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    for later in (301, 310, 600):
        monkeypatch.setattr(watchdog.time, "monotonic", lambda later=later: now + later)
        _look(served)
    service = "model-churn.12345678"
    told = cast("FakeWalls", served.walls).told
    assert told == [f"stop {service}", f"start {service}"], "it got no time to load"
    assert "answered no more" in str(served.report.reason)


def test_what_serves_is_started_again_while_the_next_version_is_fetched(
    served: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetching, goes_on = Event(), Event()

    def slow(_: object, staged: Path) -> None:
        fetching.set()
        assert goes_on.wait(20), "what served was not started again"
        raise OSError(errno.ENOSPC, "No space left on device", staged.name)

    monkeypatch.setattr(keeper, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(keeper.registry, "find", lambda *_: Found(version="2", files="x:/1"))
    monkeypatch.setattr(keeper.mlflow, "download", slow)
    walls, service = cast("FakeWalls", served.walls), "model-churn.12345678"
    threads = [Thread(target=each) for each in (served.run, served.watch)]
    for each in threads:
        each.start()
    try:
        assert fetching.wait(20)
        walls.up.discard(service)
        assert eventually(lambda: walls.told == [f"start {service}"], 20), walls.told
        assert served.report.doing == "fetching version 2"
    finally:
        goes_on.set()
        served.leave()
        for each in threads:
            each.join(20)


def test_nobody_starts_the_older_server_again_while_the_newer_takes_its_place(
    served: Keeper,
) -> None:
    walls, older = cast("FakeWalls", served.walls), "model-churn.12345678"
    real, waits = served.watchdog.switching, Event()

    @contextmanager
    def noticed() -> Iterator[None]:
        waits.set()
        with real:
            yield

    looking = Thread(target=served.watchdog.look, args=(served.wanted,))
    with real:
        served.watchdog.switching = cast("Any", noticed())
        looking.start()
        assert waits.wait(20), "it looks after what serves without waiting for its turn"
        walls.stop(older)
        (folders.SERVED / "churn").unlink()
    looking.join(20)
    assert walls.told == [f"stop {older}"]


def test_packages_are_compiled_and_none_of_their_code_is_run(tmp_path: Path) -> None:
    made, ran = tmp_path / "made", tmp_path / "ran"
    venv.create(made, symlinks=True)
    (packages,) = made.glob("lib/python*/site-packages")
    evil = f"import pathlib; pathlib.Path({str(ran)!r}).touch()\n"
    for name in ("evil.pth", "sitecustomize.py", "module.py", "compileall.py", "tests/t.py"):
        (packages / name).parent.mkdir(exist_ok=True)
        (packages / name).write_text(evil)
    (packages / "python2.py").write_text("print 'old'\n")
    (made / "bin" / "compileall.py").write_text(evil)
    compile_packages(made)
    assert not ran.exists()
    assert {each.name.partition(".")[0] for each in packages.rglob("*.pyc")} == {
        *("sitecustomize", "module", "compileall"),
    }
    (pyc,) = packages.glob("__pycache__/module.*")
    assert f"{pyc.stat().st_mode:o}" == "100644"


def test_an_environment_that_went_while_it_waited_is_only_noted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    compile_soon(tmp_path / "gone")
    assert eventually(lambda: "gone is not compiled" in caplog.text, 10)


def test_who_verifies_waits_for_their_own_model_whatever_others_ask_for_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ServedModel(uri="models:/churn/3")
    store = DirectoryStore(tmp_path)
    allowed = {"code_allowed": True, "models": {"a": model, "b": model, "c": model}}
    change(store, Models, "serve", lambda _: dict(allowed))
    here = cast("Environment", SimpleNamespace(target=SimpleNamespace(store=store, running=bool)))
    others: list[Callable[[], object]] = [
        lambda: models.serve(here, "d", model, allow_code=False),
        lambda: models.stop(here, "c"),
        lambda: models.tried(here, "b"),
    ]

    def machine(*_: object) -> Iterator[ObservedModels]:
        while others:
            others.pop(0)()
        wanted, _tag = read(store, Models)
        assert wanted is not None
        trials = {name: ModelTrial(desired=at, version="1") for name, at in wanted.trials.items()}
        yield ObservedModels(
            generation=1, desired=0, walls=True, heartbeat=NOON, models={}, trials=trials
        )

    serves = ModelReport(desired=99, uri=model.uri, state="serving")
    monkeypatch.setattr(models, "_observed", machine)
    monkeypatch.setattr(models, "_must_be_there", lambda *_: None)
    monkeypatch.setattr(models, "_reports", lambda *_: iter([serves]))
    assert models.tried(here, "a").desired == 2
    last, _ = read(store, Models)
    assert last is not None
    assert (sorted(last.models), last.trials) == (["a", "b", "d"], {"a": 2, "b": 5})


def test_a_server_that_took_anothers_place_is_asked_before_it_is_called_mute(
    served: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one before may have been mute for as long as it served."""
    now = time.monotonic()
    monkeypatch.setattr(watchdog.time, "monotonic", lambda: now + 1000)
    monkeypatch.setattr(watchdog, "pings", lambda _: True)
    served.look_after()
    assert cast("FakeWalls", served.walls).told == []
    assert served.report.healthy


def test_what_was_wrong_with_the_one_before_is_not_told_of_the_one_that_serves_now(
    served: Keeper,
) -> None:
    _look(served)
    served.watchdog.down = Trouble("model-churn.12345678", "its server ended", 1, 0)
    served.look_after()
    assert served.watchdog.why_down() == "its server ended"
    (folders.SERVED / "churn").unlink()
    (folders.SERVED / "churn").symlink_to("../models/model-churn.87654321")
    assert served.watchdog.why_down() is None


@pytest.mark.parametrize("error", [StepError("systemd does not tell"), OSError("no memory")])
def test_whoever_tells_of_memory_may_be_away(
    served: Keeper, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def away(_: str) -> int:
        raise error

    monkeypatch.setattr(served.walls, "memory", away)
    served.look()
    assert served.report.memory_bytes is None


def test_a_server_that_ended_now_and_then_is_started_at_once_each_time(served: Keeper) -> None:
    walls, service = cast("FakeWalls", served.walls), "model-churn.12345678"
    served.watchdog.down = Trouble(service, "its server ended", 9, time.monotonic() - 601)
    walls.up.discard(service)
    served.look_after()
    assert walls.told == [f"start {service}"]
    assert served.watchdog.down.times == 1


def test_a_package_does_not_say_which_folders_its_model_sees(tmp_path: Path) -> None:
    python, made = tmp_path / "python", tmp_path / "made"
    for place in (python / "bin", python / "lib", tmp_path / "private/lib", made / "bin"):
        place.mkdir(parents=True)
    (python / "bin/python3").touch()
    (made / "bin/python").symlink_to(python / "bin/python3")
    (made / "pyvenv.cfg").write_text(f"home = {tmp_path}/private/bin\n")
    assert environments.python_places(made) == [python / "bin", python / "lib"]


def _served_as(store: DirectoryStore, name: str, uri: str | None) -> None:
    """Have a document with a model, or without one of that name."""
    found = {name: ServedModel(uri=uri)} if uri else {}
    change(store, Models, "it", lambda _: {"code_allowed": True, "models": found})


def _told(desired: int, models: dict[str, ModelReport]) -> ObservedModels:
    return ObservedModels(
        generation=1, desired=desired, walls=True, heartbeat=NOON, models=models, trials={}
    )


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    monkeypatch.setattr(models, "_must_be_there", lambda *_: None)
    target = SimpleNamespace(store=DirectoryStore(tmp_path), running=lambda: True)
    return cast("Environment", SimpleNamespace(target=target, name="team"))


@pytest.mark.parametrize("newer", [None, "models:/other/1"], ids=["stopped", "another"])
def test_who_serves_a_model_hears_when_somebody_else_wants_it_otherwise(
    here: Environment, monkeypatch: pytest.MonkeyPatch, newer: str | None
) -> None:
    store = cast("DirectoryStore", here.target.store)
    _served_as(store, "churn", None)

    def machine(*_: object) -> Iterator[ObservedModels]:
        _served_as(store, "churn", newer)
        now = {"churn": ModelReport(desired=3, uri=newer, state="serving")} if newer else {}
        while True:
            yield _told(3, now)

    monkeypatch.setattr(models, "_observed", machine)
    wanted = ServedModel(uri="models:/churn/3")
    with pytest.raises(BusyError, match="Somebody else changed 'churn' meanwhile"):
        models.serve(here, "churn", wanted, allow_code=False)


@pytest.mark.parametrize(
    ("again", "report", "sentence"),
    [
        ("models:/other/1", ModelReport(desired=3, uri="models:/other/1"), "serves a model as"),
        (
            None,
            ModelReport(desired=2, uri="", doing="ending", reason="it hangs"),
            "could not be ended: it hangs",
        ),
    ],
    ids=["served again", "cannot be ended"],
)
def test_who_stops_a_model_does_not_wait_in_vain(
    here: Environment,
    monkeypatch: pytest.MonkeyPatch,
    again: str | None,
    report: ModelReport,
    sentence: str,
) -> None:
    store = cast("DirectoryStore", here.target.store)
    _served_as(store, "churn", "models:/churn/3")

    def machine(*_: object) -> Iterator[ObservedModels]:
        _served_as(store, "churn", again)
        while True:
            yield _told(3, {"churn": report})

    monkeypatch.setattr(models, "_observed", machine)
    with pytest.raises((BusyError, NotProvenError), match=sentence):
        models.stop(here, "churn")


def test_files_that_no_model_has_are_not_read(served: Keeper, tmp_path: Path) -> None:
    example = tmp_path / EXAMPLE
    with example.open("wb") as file:
        file.truncate((1 << 20) + 1)
    wanted = ServedModel(uri="models:/churn/3", request_mb=1)
    with pytest.raises(StepError, match=r"larger than the 1 MB .*`--request`"):
        served._must_take(example, "model-churn.12345678", wanted)
    (tmp_path / "python_env.yaml").write_text("python: 3.11.2\n")
    with (tmp_path / "requirements.txt").open("wb") as file:
        file.truncate((1 << 20) + 1)
    with pytest.raises(StepError, match=r"requirements\.txt is larger than 1 MB"):
        wanted_by(tmp_path, "3.1")
