"""The flags that ask for what a spec can ask for: each sets its key, on every command alike."""

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import BaseModel
from typer.testing import CliRunner

from trackstack import spec
from trackstack.cli import app, spec_flags
from trackstack.cli.spec_flags import with_spec_flags
from unit.making import Called

Command = Callable[..., Called]

FLAGS = [
    # as typed, the key of the spec, the value asked for, another value
    (["--port", "9000"], "server.port", 9000),
    (["--listen", "192.168.1.20"], "server.listen", "192.168.1.20"),
    (["--hostname", "GPU1"], "server.hostnames", ["gpu1"]),
    (["--hostname", "gpu1", "--hostname", "gpu2"], "server.hostnames", ["gpu1", "gpu2"]),
    (["--tls", "upstream"], "server.tls", "upstream"),
    (["--certificate", "/a.pem"], "server.certificate", "/a.pem"),
    (["--key", "/a.key"], "server.key", "/a.key"),
    (["--trusted-proxy", "10.0.0.5"], "server.trusted_proxies", ["10.0.0.5/32"]),
    (["--workers", "3"], "server.workers", 3),
    (["--mlflow", "3.16.0"], "server.mlflow", "3.16.0"),
    (["--extra-package", "boto3 >= 1.40"], "server.extra_packages", ["boto3>=1.40"]),
    (["--database", "postgresql://m@db/runs"], "stores.database", "postgresql://m@db/runs"),
    (["--artifacts", "s3://bucket/a"], "stores.artifacts", "s3://bucket/a"),
    (["--artifacts-endpoint", "https://s3.x"], "stores.artifacts_endpoint", "https://s3.x"),
    (["--user", "ada", "--user", "bob"], "users", ["ada", "bob"]),
    (["--at-login"], "at_login", True),
    (["--no-at-login"], "at_login", False),
]
VARIABLES = [
    ("TRACKSTACK_PORT", "9000", "server.port", 9000),
    ("TRACKSTACK_LISTEN", "192.168.1.20", "server.listen", "192.168.1.20"),
    ("TRACKSTACK_WORKERS", "3", "server.workers", 3),
    ("TRACKSTACK_MLFLOW", "3.16.0", "server.mlflow", "3.16.0"),
    ("TRACKSTACK_DATABASE", "postgresql://m@db/r", "stores.database", "postgresql://m@db/r"),
    ("TRACKSTACK_ARTIFACTS", "gs://bucket", "stores.artifacts", "gs://bucket"),
]
REFUSED = [
    ["--port", "80"],
    ["--listen", "here"],
    ["--listen", "127.0.0.2"],
    ["--hostname", "a b"],
    ["--hostname", "gpu1", "--hostname", "a_b"],
    ["--trusted-proxy", "10.0.0.5/24"],
    ["--workers", "0"],
    ["--extra-package", "mlflow"],
    ["--database", "mysql://m@db/r"],
    ["--artifacts", "bucket"],
    ["--artifacts-endpoint", "s3.x"],
    ["--user", "Ada L"],
]


def asked(*typed: str, **variables: str) -> dict[str, Any]:
    """What a command with the flags is told was asked."""
    told: list[dict[str, Any]] = []
    trial = typer.Typer()

    @trial.command()
    @with_spec_flags("local")
    def try_out(*, asked: "spec.Asked", more: bool = False) -> None:
        assert not more
        told.append(asked)

    done = CliRunner().invoke(trial, list(typed), env=variables)
    assert done.exit_code == 0, done.output
    return told[0]


def flat(content: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in content.items():
        inner = flat(value) if isinstance(value, dict) else None
        found |= {f"{key}.{name}": each for name, each in inner.items()} if inner else {key: value}
    return found


def keys(model: type[BaseModel], prefix: str = "") -> set[str]:
    found: set[str] = set()
    for name, about in model.model_fields.items():
        kind = about.annotation
        inner = isinstance(kind, type) and issubclass(kind, BaseModel)
        found |= keys(kind, f"{prefix}{name}.") if inner else {prefix + name}  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize(("typed", "key", "value"), FLAGS)
def test_a_flag_asks_for_exactly_its_key(typed: list[str], key: str, value: object) -> None:
    assert flat(asked(*typed)) == {key: value}


@pytest.mark.parametrize(("variable", "said", "key", "value"), VARIABLES)
def test_a_variable_asks_for_exactly_its_key(
    variable: str, said: str, key: str, value: object
) -> None:
    assert flat(asked(**{variable: said})) == {key: value}


def test_a_flag_goes_before_its_variable() -> None:
    assert flat(asked("--port", "9001", TRACKSTACK_PORT="9000")) == {"server.port": 9001}


def test_without_flags_nothing_is_asked() -> None:
    assert asked() == {}


def test_all_flags_together_ask_for_all_their_keys() -> None:
    typed = [word for flag in FLAGS if len(flag[0]) == 2 for word in flag[0]]
    assert flat(asked(*typed)) == {key: value for words, key, value in FLAGS if len(words) == 2}


def test_every_flag_of_the_table_is_tried_here_and_every_variable() -> None:
    assert {key for _, key, _ in FLAGS} == {
        ".".join(path) for _, path in spec_flags.TABLES["local"].values()
    }
    options = {
        name: inspect.signature(with_spec_flags("local")(lambda **_: None))
        .parameters[name]
        .annotation
        for name in spec_flags.TABLES["local"]
    }
    variables = {option.__metadata__[0].envvar for option in options.values()}
    assert variables - {None} == {variable for variable, *_ in VARIABLES}


def test_every_key_of_the_spec_can_be_asked_for_by_a_flag_but_those_that_a_file_is_for() -> None:
    elsewhere = {"target", "environment", "protected"}
    assert keys(spec.LocalSpec) - {key for _, key, _ in FLAGS} == elsewhere


def test_a_path_is_told_from_the_root_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = asked("--certificate", "a.pem", "--key", "more/a.key")
    assert told["server"] == {
        "certificate": str(tmp_path / "a.pem"),
        "key": str(tmp_path / "more" / "a.key"),
    }


def test_deploy_plan_and_render_have_the_same_flags() -> None:
    texts = [
        CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"}).output
        for path in (["deploy", "local"], ["plan", "local"], ["render"])
    ]
    flags = {words[0] for words, *_ in FLAGS}
    for text in texts:
        assert {flag for flag in flags if f"{flag} " not in text} == set()


@pytest.mark.parametrize("typed", REFUSED, ids=" ".join)
def test_a_wrong_value_is_refused_with_the_name_of_its_flag(
    command: Command, home: Path, typed: list[str]
) -> None:
    called = command("plan", "local", *typed)
    assert called.code == 2
    assert typed[-2] in called.err
    assert not home.exists()


def test_what_does_not_go_together_is_told_in_one_sentence(command: Command) -> None:
    called = command("plan", "local", "--listen", "0.0.0.0")
    assert called.code == 2
    assert "say in hostnames by which names or addresses clients call it" in called.err
    assert "tls" in command("plan", "local", "--tls", "mine").err


def test_flags_reach_the_plan(command: Command) -> None:
    called = command("plan", "local", "--listen", "10.1.2.3", "--hostname", "gpu1", "--json")
    nginx = json.loads(called.out)["plan"]["nginx"]
    assert (nginx["address"], nginx["names"], nginx["tls"]) == (
        "10.1.2.3",
        ["gpu1", "10.1.2.3"],
        "own",
    )
