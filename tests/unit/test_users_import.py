"""Users of an existing password file are let in; when each was last seen is read from the log."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackstack import htpasswd
from trackstack.agent import folders
from trackstack.agent.last_seen import last_seen
from trackstack.control.base import read
from trackstack.credentials import hash_password
from trackstack.desired import User, Users
from trackstack.environment import Environment
from trackstack.errors import UsageError
from trackstack.operations import users
from trackstack.operations.env import client_variables
from unit.making import NOON, Called

APR1 = "$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/"
SOUND = hash_password("a password of hers")
FILE = f"# staff\ngrace:{SOUND}\nbob:{APR1}:Bob\n"
Command = Callable[..., Called]


def stored(environment: Environment) -> dict[str, User]:
    document, _ = read(environment.target.store, Users)
    assert document is not None
    return document.users


def test_they_come_in_with_the_hashes_they_have_beside_those_who_are_in(
    environment: Environment,
) -> None:
    before = stored(environment)
    taken = users.take_over(environment, FILE)
    after = stored(environment)
    assert [entry.user for entry in taken] == ["grace", "bob"]
    assert {name: after[name].hash for name in ("grace", "bob")} == {"grace": SOUND, "bob": APR1}
    assert after["ada"] == before["ada"]
    assert set(after) == {"ada", "grace", "bob"}


def test_they_are_shut_out_after_30_days_unless_told_otherwise(environment: Environment) -> None:
    begun = datetime.now(UTC)
    users.take_over(environment, f"grace:{SOUND}\n")
    expires = stored(environment)["grace"].expires
    assert expires is not None
    assert begun <= expires - timedelta(days=30) <= datetime.now(UTC)
    users.take_over(environment, f"bob:{SOUND}\n", NOON)
    assert stored(environment)["bob"].expires == NOON


@pytest.mark.parametrize(
    ("text", "told"), [(f"{FILE}ada:{APR1}\n", "user 'ada' already"), (f"{FILE}x", "Line 4")]
)
def test_one_wrong_line_lets_nobody_in(environment: Environment, text: str, told: str) -> None:
    before = stored(environment)
    with pytest.raises(UsageError, match=told):
        users.take_over(environment, text)
    assert stored(environment) == before


def test_the_first_user_here_stays_whose_password_this_computer_keeps(
    environment: Environment,
) -> None:
    users.take_over(environment, FILE)
    assert environment.owner() == "ada"
    assert users.own_login(environment) is not None


def test_warnings_are_told_with_the_name_and_no_hash_is(
    command: Command, environment: Environment, tmp_path: Path
) -> None:
    file = tmp_path / "htpasswd"
    file.write_text(FILE)
    called = command("users", "import", file)
    assert called.code == 0
    assert called.out == "Let in: grace, bob.\n"
    assert "bob's hash is MD5" in called.err
    assert "grace" not in called.err
    assert APR1 not in called.err + called.out
    assert set(stored(environment)) == {"ada", "bob", "grace"}


@pytest.mark.usefixtures("environment")
def test_an_import_as_json_is_one_document(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "htpasswd"
    file.write_text(FILE)
    told = json.loads(command("users", "import", file, "--json").out)
    assert [set(each) for each in told] == [{"user", "warning"}] * 2
    assert told[0] == {"user": "grace", "warning": None}


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("data", [None, b"\xff\xfe"], ids=["gone", "no text"])
def test_a_file_that_is_no_text_is_told(
    command: Command, tmp_path: Path, data: bytes | None
) -> None:
    file = tmp_path / "htpasswd"
    if data is not None:
        file.write_bytes(data)
    called = command("users", "import", file)
    assert (called.code, called.err) == (2, f"error: {file} cannot be read as text.\n")


hashes = st.one_of(
    st.just(SOUND),
    st.from_regex(r"\{(SSHA|SHA|PLAIN)\}[!-9;-~]{0,300}", fullmatch=True),
    st.from_regex(r"\$[0-9a-z]{1,4}\$(rounds=[0-9]{1,12}\$)?[./A-Za-z0-9$]{0,300}", fullmatch=True),
)


@given(hashes)
def test_whatever_hash_is_taken_can_be_stored_and_is_one_field_of_a_line(hashed: str) -> None:
    try:
        (entry,) = htpasswd.parse(f"ada:{hashed}\n")
    except UsageError:
        return
    made = User(hash=entry.hash, created=NOON, rotated=NOON)
    assert made.hash == hashed


ROUNDS = [("$5$rounds=5000$salt$" + "a" * 43, None), ("$6$rounds=500000$salt$" + "a" * 86, "slow")]


@pytest.mark.parametrize(("hashed", "warning"), ROUNDS)
def test_many_rounds_are_slow(hashed: str, warning: str | None) -> None:
    (entry,) = htpasswd.parse(f"ada:{hashed}\n")
    assert (entry.warning or "").partition(":")[0] == (warning or "")


def test_env_takes_the_word_of_a_user_whose_hash_it_cannot_check(
    environment: Environment,
) -> None:
    users.take_over(environment, FILE)
    told = client_variables(environment, "bob", lambda _: "myPassword")
    assert told["MLFLOW_TRACKING_PASSWORD"] == "myPassword"
    with pytest.raises(UsageError, match="not the password of 'grace'"):
        client_variables(environment, "grace", lambda _: "another")


def line(user: str, time: str = "2026-11-20T12:00:00+00:00", **more: object) -> str:
    return json.dumps({"time": time, "user": user, "status": 200, **more})


LATER = "2026-11-20T14:00:00+01:00"
ONE = NOON + timedelta(hours=1)
LOGS: list[tuple[list[str], dict[str, datetime]]] = [
    ([], {}),
    ([line("ada")], {"ada": NOON}),
    ([line("ada"), line("bob"), line("ada", LATER)], {"ada": ONE, "bob": NOON}),
    ([line(""), line("ada")], {"ada": NOON}),
    (["", "{", "5", "null", '"ada"', "[]", line("ada")], {"ada": NOON}),
    ([line("ada"), line("ada", LATER)[:-20]], {"ada": NOON}),
    ([line("ada", "yesterday"), '{"user": "ada"}', '{"user": ["ada"], "time": "2026-11-20"}'], {}),
]  # fmt: skip


@pytest.mark.parametrize(("log", "seen"), LOGS)
def test_the_last_line_of_each_user_says_when_they_were_seen(
    log: list[str], seen: dict[str, datetime]
) -> None:
    assert last_seen(log) == seen


@given(st.lists(st.text(max_size=40) | st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(st.sampled_from(["user", "time"]), inner, max_size=2),
).map(json.dumps), max_size=4))  # fmt: skip
def test_no_line_of_a_log_whatever_it_is_hides_the_others(log: list[str]) -> None:
    assert last_seen([*log, line("grace")])["grace"] == NOON


def test_the_list_looks_through_older_logs_the_oldest_first(environment: Environment) -> None:
    users.add(environment, ["bob", "eve"])
    log = environment.folder / "machine" / folders.NGINX_LOG
    log.parent.mkdir(parents=True)
    log.with_name(f"{log.name}.10").write_text(f"{line('bob')}\n{line('ada')}\n")
    log.with_name(f"{log.name}.2").write_text(f"{line('ada', LATER)}\n")
    log.write_text(line("trackstack.verify.1"))
    found = {each.user: each.last_seen for each in users.listed(environment)}
    assert found == {"ada": NOON + timedelta(hours=1), "bob": NOON, "eve": None}
