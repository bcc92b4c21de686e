"""What the first kit wrote still loads, and nothing of it changes unasked.

The files in data/first-kit are as that kit's `deploy local` left them: record.json, release.json
and users.json; only its packages are two made-up ones.
"""

import shutil
from pathlib import Path

import pytest

from trackstack import lock, spec
from trackstack.control.base import read
from trackstack.desired import Release, Users
from trackstack.environment import Environment
from trackstack.operations import users
from trackstack.operations.deploy import _write_desired
from trackstack.operations.plan import intend
from unit.making import LOCK

LEFT = Path(__file__).parent / "data" / "first-kit"


@pytest.fixture
def old(home: Path) -> Environment:
    """An environment as the first kit left it."""
    folder = home / "environments" / "local"
    desired = folder / "control" / "desired"
    desired.mkdir(parents=True)
    shutil.copy(LEFT / "record.json", folder)
    for document in ("release.json", "users.json"):
        shutil.copy(LEFT / document, desired)
    return Environment("local")


def everything(environment: Environment) -> dict[Path, bytes]:
    files = (file for file in environment.folder.rglob("*") if file.suffix == ".json")
    return {file: file.read_bytes() for file in files}


def test_its_record_loads_with_what_was_decided(old: Environment) -> None:
    record = old.existing_record()
    assert record.spec.server.workers == 2
    assert record.spec.server.listen == "127.0.0.1"
    assert record.plan.nginx.tls == "none"
    assert old.url == "http://127.0.0.1:8080"
    assert old.authorities() is None


def test_its_documents_load(old: Environment) -> None:
    release, _ = read(old.target.store, Release)
    people, _ = read(old.target.store, Users)
    assert release is not None
    assert release.certificates == ()
    assert people is not None
    assert set(people.users) == {"ada"}
    assert [each.user for each in users.listed(old)] == ["ada"]


@pytest.mark.parametrize("flags", [{}, {"users": ["ada"]}], ids=["no flags", "the same flags"])
def test_the_same_deploy_with_this_kit_changes_nothing(
    old: Environment, flags: spec.Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "for_mlflow", lambda *_: pytest.fail("packages were locked anew"))
    monkeypatch.setattr(spec, "default_workers", lambda: 63)
    before = everything(old)
    intent = intend(old, "local", flags)
    assert intent.changes == []
    assert intent.plan == old.existing_record().plan
    assert _write_desired(old, intent) == []
    assert everything(old) == before


def test_the_reference_asked_of_it_differs_in_nothing_new(old: Environment) -> None:
    """Every key said as its default is the same as a key that kit did not know."""
    reference = Path(__file__).parents[2] / "examples" / "local.yaml"
    assert intend(old, "local", {}, reference).changes == []


def test_a_first_change_with_this_kit_is_that_change_and_brings_its_settings(
    old: Environment,
) -> None:
    before, _ = read(old.target.store, Release)
    intent = intend(old, "local", {"server": {"workers": 3}})
    assert [(each.key, each.after) for each in intent.changes] == [("mlflow.workers", "3")]
    assert intent.plan.packages == LOCK
    _write_desired(old, intent)
    after, _ = read(old.target.store, Release)
    assert before is not None
    assert after is not None
    assert after.generation == before.generation + 1
    assert after.nginx != before.nginx


def test_a_user_of_it_may_get_a_new_password_that_overlaps_the_old(old: Environment) -> None:
    before, _ = read(old.target.store, Users)
    users.rotate(old, ["ada"], users._IMPORTED_LIFETIME)
    after, _ = read(old.target.store, Users)
    assert before is not None
    assert after is not None
    assert after.users["ada"].previous is not None
    assert after.users["ada"].previous.hash == before.users["ada"].hash
