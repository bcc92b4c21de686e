"""The documents of the control store: what is damaged is told, what is dangerous refused."""

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from trackstack.desired import (
    Applied,
    Cleanup,
    DesiredDocument,
    ManagedDatabase,
    Observed,
    Release,
    ReleaseFile,
    StepReport,
    User,
    Users,
    audit_entry,
    audit_key,
    content_id,
    observed_key,
)
from trackstack.errors import TrackstackError
from unit.making import HASH, NOON, change_of, cleanup, release, user, users_document

OBSERVED = Observed(
    machine="local",
    boot="1",
    healthy=False,
    seen=Applied(release=2),
    applied=Applied(release=1),
    release_id=None,
    versions={"python": "3.13.1"},
    steps=(
        StepReport(name="folders", state="done", seconds=0.1),
        StepReport(name="nginx", state="failed", seconds=0.1, problem="no", output="é\n"),
    ),
    heartbeat=NOON,
)
DOCUMENTS = [users_document(ada=user(), bob=user(expires=NOON)), release(), cleanup(), OBSERVED]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.KEY)
def test_a_document_comes_back_from_its_bytes_as_it_was(document: Any) -> None:
    again = type(document).from_bytes(document.to_bytes())
    assert again == document
    assert again.to_bytes() == document.to_bytes()


@pytest.mark.parametrize("key", ["patches", "agent", "agent_problem"])
def test_a_report_of_an_agent_that_did_not_know_a_key_yet_is_read(key: str) -> None:
    content = json.loads(OBSERVED.to_bytes())
    assert content.pop(key) is None
    assert Observed.from_bytes(json.dumps(content).encode()) == OBSERVED


def changed(document: Any, place: str, value: object) -> bytes:
    """A document's bytes with one value changed, or left out when it is '…'."""
    content = json.loads(document.to_bytes())
    inner, keys = content, place.split(".")
    for key in keys[:-1]:
        inner = inner[int(key) if key.isdigit() else key]
    if value is ...:
        del inner[keys[-1]]
    else:
        last = keys[-1]
        inner[int(last) if last.isdigit() else last] = value
    return json.dumps(content).encode()


USERS = users_document(ada=user())
DAMAGED = [
    # document, key, value, what the sentence names
    (USERS, "users", ..., "users"),
    (USERS, "users", [], "users"),
    (USERS, "users.ada.hash", ..., "users.ada.hash"),
    (USERS, "users.ada.hash", "two words", "users.ada.hash"),
    (USERS, "users.ada.hash", "{SSHA}x\nroot:{PLAIN}x", "users.ada.hash"),
    (USERS, "users.ada.hash", "a:b", "users.ada.hash"),
    (USERS, "users.ada.expires", "soon", "users.ada.expires"),
    (USERS, "users.ada.created", "2026-11-20T12:00:00", "users.ada.created"),
    (USERS, "users.ada.colour", "red", "users.ada.colour"),
    (USERS, "generation", 0, "generation"),
    (USERS, "generation", "many", "generation"),
    (USERS, "change", ..., "change"),
    (USERS, "change.at", 1.5e300, "change.at"),
    (USERS, "colour", "red", "colour"),
    (release(), "files.0.path", "../evil", "files.0.path"),
    (release(), "mlflow", "mlflow-../../x", "mlflow"),
    (release(), "nginx", "", "nginx"),
    (release(), "packages", None, "packages"),
    (cleanup(), "experiment", "0; rm", "experiment"),
    (cleanup(), "runs.0", "all", "runs.0"),
    (OBSERVED, "steps.0.state", "perhaps", "steps.0.state"),
]


@pytest.mark.parametrize(
    ("document", "place", "value", "named"), DAMAGED,
    ids=[f"{row[0].KEY} {row[1]} {row[2]!r:.20}" for row in DAMAGED],
)  # fmt: skip
def test_a_damaged_document_is_told_with_the_key_that_is_wrong(
    document: Any, place: str, value: object, named: str
) -> None:
    data = changed(document, place, value)
    with pytest.raises(TrackstackError) as refused:
        type(document).from_bytes(data)
    sentence = refused.value.sentence
    assert sentence.startswith(f"{document.KEY} in the control store is damaged (")
    assert named in sentence
    assert "\n" not in sentence
    assert HASH not in sentence


@pytest.mark.parametrize("name", ["", "..", "../ada", "a/b", "Ada", "a:b", "a\nb", "a" * 129])
def test_a_user_whose_name_would_leave_the_folder_of_users_is_damage(name: str) -> None:
    content = json.loads(USERS.to_bytes())
    content["users"] = {name: content["users"]["ada"]}
    with pytest.raises(TrackstackError, match="is damaged"):
        Users.from_bytes(json.dumps(content).encode())


NOT_DOCUMENTS = [
    b"", b"{",
    b"\xff\xfe", b"null", b"5", b'"format"', b"[]", b"{}", b'{"kit": "1"}', b"[" * 100000,
]  # fmt: skip


@pytest.mark.parametrize("data", NOT_DOCUMENTS, ids=lambda data: repr(data[:12]))
def test_what_is_no_document_at_all_is_told(data: bytes) -> None:
    with pytest.raises(TrackstackError) as refused:
        Users.from_bytes(data)
    assert refused.value.sentence == (
        "desired/users.json in the control store is damaged (it is not one of trackstack's "
        "documents)."
    )


@pytest.mark.parametrize("written_in", [2, 99, "new", None])
def test_a_document_in_a_newer_format_is_told_with_the_kit_that_wrote_it(
    written_in: object,
) -> None:
    data = json.dumps({"format": written_in, "kit": "9.1.0", "what": "nobody knows"}).encode()
    with pytest.raises(TrackstackError) as refused:
        Users.from_bytes(data)
    assert f"desired/users.json is in format {written_in}" in refused.value.sentence
    assert "9.1.0" in refused.value.sentence


PATHS = ["nginx/nginx.conf", "services/mlflow-0a1b2c3d.sh", "services/a", "nginx/a..b"]
NOT_PATHS = [
    "", "nginx.conf", "nginx/", "nginx/..", "nginx/../users/ada", "/nginx/nginx.conf", "users/ada",
    "data/secrets.env", "nginx/.hidden", "nginx/a/b", "nginx//a", "nginx/a b", "nginx/a\nb",
    "nginx/a\x00", "Nginx/a", "services/A", "services/" + "a" * 80, "../services/a", "services\\a",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_a_release_may_hold_a_file_at(path: str) -> None:
    assert ReleaseFile(path=path, content="").path == path


@pytest.mark.parametrize("path", NOT_PATHS)
def test_a_release_may_not_hold_a_file_at(path: str) -> None:
    with pytest.raises(ValidationError, match="path"):
        ReleaseFile(path=path, content="")


@given(st.text(max_size=40))
def test_no_path_of_a_release_leaves_its_two_folders(path: str) -> None:
    for prefix in ("", "nginx/", "services/"):
        try:
            taken = ReleaseFile(path=prefix + path, content="").path
        except ValidationError:
            continue
        folder, _, name = taken.partition("/")
        assert folder in ("nginx", "services")
        assert name not in ("", ".", "..")
        assert "/" not in name


@pytest.mark.parametrize("empty", ["runs", "models", "experiment"])
def test_a_cleanup_with_an_empty_list_is_refused_because_mlflow_takes_it_for_everything(
    empty: str,
) -> None:
    content = cleanup().model_dump() | {empty: "" if empty == "experiment" else ()}
    with pytest.raises(ValidationError, match=empty):
        Cleanup.model_validate(content)


names = st.from_regex(r"[a-z0-9][a-z0-9._@+-]{0,20}", fullmatch=True)
zones = st.builds(lambda minutes: timezone(timedelta(minutes=minutes)), st.integers(-720, 840))
times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=zones)
people = st.builds(
    User, hash=st.just(HASH), created=times, rotated=times, expires=st.none() | times
)


@given(st.dictionaries(names, people, max_size=3), times, st.text(max_size=20))
def test_whoever_makes_the_audit_entry_of_a_write_makes_the_same_one(
    who: dict[str, User], at: datetime, what: str
) -> None:
    """The writer makes it from the document, the agent from the bytes it reads."""
    written = Users(generation=3, change=change_of(what, at), users=who)
    as_read = Users.from_bytes(written.to_bytes())
    assert as_read == written
    assert audit_key(as_read) == audit_key(written)
    assert audit_entry(as_read) == audit_entry(written)


def test_an_audit_entry_says_what_who_where_and_which_but_no_hash() -> None:
    entry = json.loads(audit_entry(users_document(generation=12, ada=user())))
    assert entry["document"] == "desired/users.json"
    assert entry["generation"] == 12
    assert (entry["who"], entry["where"], entry["what"]) == ("ada", "laptop", "a test")
    assert HASH not in json.dumps(entry)


def test_every_generation_of_every_document_has_an_audit_key_of_its_own() -> None:
    written: list[DesiredDocument] = [
        *(users_document(generation) for generation in range(1, 4)),
        release(),
        cleanup(),
    ]
    assert len({audit_key(each) for each in written}) == len(written)
    assert audit_key(written[0]) == "audit/2026-11-20/users-00000001.json"


def test_the_failed_step_of_a_report_is_found() -> None:
    failed = OBSERVED.failed_step()
    assert failed is not None
    assert failed.name == "nginx"
    assert OBSERVED.model_copy(update={"steps": ()}).failed_step() is None


def test_a_report_lies_under_the_name_of_its_machine() -> None:
    assert observed_key("local") == "observed/machines/local.json"


SECOND = timedelta(seconds=1)
EXPIRIES = [(None, True), (NOON + SECOND, True), (NOON, False), (NOON - SECOND, False)]


@pytest.mark.parametrize(("expires", "enters"), EXPIRIES)
def test_a_user_may_enter_until_the_very_moment_of_expiry(
    expires: datetime | None, enters: bool
) -> None:
    assert user(expires=expires).may_enter(NOON) == enters


def test_a_content_id_does_not_depend_on_the_order_of_keys() -> None:
    assert content_id({"a": 1, "b": 2}) == content_id({"b": 2, "a": 1})
    assert content_id({"a": 1}) != content_id({"a": "1"})


def test_an_id_of_a_release_changes_with_each_of_its_fields() -> None:
    base = release()
    others: dict[str, object] = {
        "files": base.files[1:],
        "packages": "x",
        "mlflow": "mlflow-00000001",
        "host": "x",
        "nginx": "00000001",
        "url": "x",
        "certificates": ("gpu1",),
        "database": ManagedDatabase(secret="arn:aws:x", host="db"),
    }
    own = set(Release.model_fields) - set(DesiredDocument.model_fields)
    assert set(others) == own, "a field of a release is not tried here"
    ids = {base.model_copy(update={key: value}).id for key, value in others.items()}
    assert len(ids | {base.id}) == len(others) + 1
