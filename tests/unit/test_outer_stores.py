"""Outer stores: what their credentials change, where they never show, and that none is left."""

import json
import os
import shlex
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackstack import lock, spec
from trackstack.agent import folders
from trackstack.agent.ensure_stores import parse
from trackstack.control.base import read
from trackstack.desired import Release
from trackstack.environment import Environment
from trackstack.errors import UsageError
from trackstack.operations.deploy import _write_desired
from trackstack.operations.plan import Intent, intend
from trackstack.targets.local import Local
from unit.making import LOCK, Called, deployed

DATABASE = "postgresql://mlflow@db.example.com/runs"
BUCKET = "s3://bucket/folder"
OUTSIDE: spec.Asked = {"stores": {"database": DATABASE, "artifacts": BUCKET}}
PASSWORD, KEY = "hunter22's $ecret", "wJalrXUtnFEMI/bPxRfiCY"
Command = Callable[..., Called]


@pytest.fixture(autouse=True)
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell with credentials for both, no index of packages, and a home without files."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "PG", "GOOGLE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA123")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
    monkeypatch.setattr(lock, "for_mlflow", lambda _, extra: LOCK + "".join(map(pinned, extra)))


def pinned(requirement: str) -> str:
    return f"{requirement.partition('[')[0]}==1.0 \\\n    --hash=sha256:{'7' * 64}\n"


def deploy(asked: spec.Asked, name: str = "local") -> Environment:
    made = Environment(name)
    _write_desired(made, intend(made, "local", {"users": ["ada"], **asked}))
    return made


def keys(intent: Intent) -> set[str]:
    return {each.key for each in intent.changes}


def test_a_plan_names_the_stores_with_their_drivers_and_counts_the_credentials() -> None:
    made = intend(Environment("local"), "local", OUTSIDE)
    assert made.plan.mlflow.database == DATABASE.replace("postgresql:", "postgresql+psycopg:")
    assert made.plan.mlflow.artifacts == BUCKET
    assert made.plan.mlflow.secrets == 1
    assert {"psycopg", "boto3"} <= set(lock.versions(made.plan.packages))
    assert made.store_credentials["PGPASSWORD"] == PASSWORD


def test_a_server_in_its_own_folder_needs_no_driver_and_no_credentials() -> None:
    made = intend(Environment("local"), "local", {})
    assert (made.plan.mlflow.secrets, made.store_credentials) == (0, {})
    assert set(lock.versions(made.plan.packages)) == {"mlflow", "numpy"}


def test_the_same_credentials_again_change_nothing() -> None:
    made = deploy(OUTSIDE)
    assert intend(made, "local", OUTSIDE).changes == []
    assert intend(made, "local", {}).changes == []


def test_without_them_in_the_shell_those_given_before_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = deploy(OUTSIDE)
    for name in ("PGPASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    intent = intend(made, "local", {})
    assert intent.changes == []
    assert intent.store_credentials["PGPASSWORD"] == PASSWORD


def test_other_credentials_are_one_change_that_restarts_mlflow_and_tells_no_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = deploy(OUTSIDE)
    before, _ = read(made.target.store, Release)
    monkeypatch.setenv("PGPASSWORD", "another one")
    intent = intend(made, "local", {})
    assert [(each.key, each.before, each.after) for each in intent.changes] == [
        ("mlflow.secrets", "1", "2")
    ]
    _write_desired(made, intent)
    after, _ = read(made.target.store, Release)
    assert before is not None
    assert after is not None
    assert after.mlflow != before.mlflow
    assert made.target.store_credentials()["PGPASSWORD"] == "another one"
    assert intend(made, "local", {}).changes == []


def test_credentials_of_stores_that_nobody_asks_for_are_not_taken() -> None:
    made = deploy({"stores": {"database": DATABASE}})
    assert made.target.store_credentials() == {"PGPASSWORD": PASSWORD}


@pytest.mark.parametrize("stores", [{"database": DATABASE}, {"artifacts": BUCKET}, {}])
def test_only_the_drivers_of_the_stores_are_installed(stores: dict[str, str]) -> None:
    made = intend(Environment("local"), "local", {"stores": stores})
    found = set(lock.versions(made.plan.packages)) - {"mlflow", "numpy"}
    expected = {"database": "psycopg", "artifacts": "boto3"}
    assert found == {expected[key] for key in stores}


def test_packages_are_locked_again_only_when_their_list_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = deploy({"server": {"extra_packages": ["some-plugin"]}, **OUTSIDE})
    monkeypatch.setattr(lock, "for_mlflow", lambda *_: pytest.fail("resolved again"))
    assert intend(made, "local", {}).changes == []
    assert keys(intend(made, "local", {"server": {"port": 9000}})) == {"nginx.port", "nginx.hosts"}
    monkeypatch.setattr(lock, "for_mlflow", lambda _, extra: LOCK + "".join(map(pinned, extra)))
    more = intend(made, "local", {"server": {"extra_packages": ["some-plugin", "another"]}})
    assert [(each.key, each.before, each.after) for each in more.changes] == [
        ("packages.another", None, "1.0")
    ]


MOVES = [
    # kept so far, asked now, the word for what would be left
    ({}, {"database": DATABASE}, "database in its own folder"),
    ({}, {"artifacts": BUCKET}, "artifacts in its own folder"),
    ({"database": DATABASE}, {"database": None}, "database outside"),
    (OUTSIDE["stores"], {"artifacts": None}, "artifacts outside"),
]


@pytest.mark.parametrize(("kept", "asked", "told"), MOVES)
def test_what_is_stored_is_not_left_behind(
    kept: dict[str, str], asked: dict[str, str | None], told: str
) -> None:
    made = deploy({"stores": kept} if kept else {})
    before = made.existing_record()
    with pytest.raises(UsageError, match="left behind") as refused:
        intend(made, "local", {"stores": asked})
    assert told in refused.value.sentence
    assert "-e NAME" in (refused.value.hint or "")
    assert made.existing_record() == before


def test_a_spec_file_that_no_longer_names_the_database_is_refused_too(tmp_path: Path) -> None:
    made = deploy(OUTSIDE)
    file = tmp_path / "team.yaml"
    file.write_text(f"users: [ada]\nstores: {{artifacts: '{BUCKET}'}}\n")
    with pytest.raises(UsageError, match="left behind"):
        intend(made, "local", {}, file)


def test_another_address_of_the_same_kind_may_be_asked_for() -> None:
    made = deploy(OUTSIDE)
    moved = {"stores": {"database": DATABASE.replace("db.", "db2.")}}
    assert keys(intend(made, "local", moved)) == {"mlflow.database"}


LEFT = [
    ({"database": DATABASE.replace("db.", "db2.")}, [("The runs", DATABASE)]),
    ({"artifacts": "s3://another"}, [("The artifacts", BUCKET)]),
    ({"artifacts_endpoint": "https://elsewhere.example"}, [("The artifacts", BUCKET)]),
    ({}, []),
]


@pytest.mark.parametrize(("asked", "left"), LEFT)
def test_what_another_store_of_the_same_kind_leaves_behind_is_told(
    command: Command, asked: dict[str, str], left: list[tuple[str, str]]
) -> None:
    deploy(OUTSIDE)
    flags = [each for key, value in asked.items() for each in (f"--{key}".replace("_", "-"), value)]
    told = command("plan", "local", *flags).out
    sentences = [line for line in told.splitlines() if "nothing moves them" in line]
    assert [line.partition(": ")[0] for line in sentences] == [
        f"{what} stay in {where}" for what, where in left
    ]


def test_a_bucket_of_another_cloud_brings_its_client_and_drops_the_old_ones() -> None:
    made = deploy({"stores": {"artifacts": BUCKET}})
    moved = {"stores": {"artifacts": "gs://bucket", "artifacts_endpoint": "http://10.0.0.7:9000"}}
    found = set(lock.versions(intend(made, "local", moved).plan.packages))
    assert found - {"mlflow", "numpy"} == {"google-cloud-storage"}


def test_missing_credentials_are_told_before_anything_is_written(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGPASSWORD")
    with pytest.raises(UsageError, match="no password for the database"):
        intend(Environment("local"), "local", OUTSIDE)
    assert not home.exists()


def test_a_secret_shows_nowhere_but_in_the_one_file_of_the_machine(
    command: Command, home: Path
) -> None:
    flags = ["--database", DATABASE, "--artifacts", BUCKET]
    plans = [command("plan", "local", *flags), command("plan", "local", *flags, "--json")]
    assert not home.exists()
    intent = intend(Environment("local"), "local", OUTSIDE)
    made = deploy(OUTSIDE)
    plans.append(command("plan", "local", "--port", "9000", "--json"))
    assert [each.code for each in plans] == [0, 0, 0]
    told = "".join(each.out + each.err for each in plans)
    told += repr(intent) + intent.plan.model_dump_json() + json.dumps(intent.asked, default=str)
    told += intent.effective.model_dump_json() + str(intent.changes) + command("status").out
    holding = []
    for file in (each for each in home.rglob("*") if each.is_file()):
        text = file.read_bytes().decode()
        holding += [file] * any(secret in text for secret in SPELLED)
    assert not [secret for secret in SPELLED if secret in told]
    stores = made.folder / "machine" / folders.STORES
    assert holding == [stores]
    assert stat.S_IMODE(stores.stat().st_mode) == 0o600
    assert made.target.store_credentials() == intent.store_credentials


SPELLED = [PASSWORD, "hunter22", "$ecret", KEY, shlex.quote(PASSWORD), json.dumps(PASSWORD)[1:-1]]


def test_render_writes_no_secret(command: Command, tmp_path: Path) -> None:
    called = command("render", tmp_path / "out", "--database", DATABASE)
    assert called.code == 0, called.err
    text = "".join(file.read_text() for file in (tmp_path / "out").rglob("*") if file.is_file())
    assert DATABASE.partition("//")[2] in text
    assert not [secret for secret in SPELLED if secret in text + called.out + called.err]


variables = st.dictionaries(
    st.sampled_from(["PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=30),
)


@given(given=variables)
def test_credentials_come_back_from_their_file_as_they_were(
    given: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    target = Local(tmp_path_factory.mktemp("environment"), Path("cache"))
    target.keep_store_credentials(given)
    assert target.store_credentials() == given


@given(given=variables)
def test_an_environment_file_is_read_as_a_shell_would(given: dict[str, str]) -> None:
    text = "".join(f"{name}={shlex.quote(value)}\n" for name, value in given.items())
    assert parse(f"# a comment\n{text}") == given


ENDPOINTS = [
    # stores, the variable that carries the endpoint
    ({"artifacts": BUCKET, "artifacts_endpoint": "http://10.0.0.7:9000"}, "MLFLOW_S3_ENDPOINT_URL"),
    (
        {"artifacts": "gs://bucket", "artifacts_endpoint": "http://10.0.0.7:9000"},
        "STORAGE_EMULATOR_HOST",
    ),
]


@pytest.mark.parametrize(("stores", "name"), ENDPOINTS)
def test_mlflow_is_told_stores_and_endpoint_in_its_environment(
    stores: dict[str, str], name: str
) -> None:
    made = deploy({"stores": stores})
    release, _ = read(made.target.store, Release)
    assert release is not None
    settings = next(each.content for each in release.files if each.path.endswith(".env"))
    found = parse(settings)
    assert found["MLFLOW_ARTIFACTS_DESTINATION"] == stores["artifacts"]
    assert found[name] == stores["artifacts_endpoint"]
    other = {"MLFLOW_S3_ENDPOINT_URL", "STORAGE_EMULATOR_HOST"} - {name}
    assert not other & set(found)


def test_only_a_server_with_credentials_reads_their_file() -> None:
    scripts = []
    for made in (deploy(OUTSIDE), deployed("plain", "ada")):
        release, _ = read(made.target.store, Release)
        assert release is not None
        service = f"services/{release.mlflow}.sh"
        scripts.append(next(each.content for each in release.files if each.path == service))
    assert [str(folders.STORES) in script for script in scripts] == [True, False]
