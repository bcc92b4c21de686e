"""A rotation that keeps the old password for a while, as commands write it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from trackstack.control.base import read
from trackstack.credentials import matches
from trackstack.desired import User, Users
from trackstack.environment import Environment
from trackstack.errors import UsageError
from trackstack.operations import users
from unit.making import Called

HOUR = timedelta(hours=1)


def stored(environment: Environment) -> dict[str, User]:
    document, _ = read(environment.target.store, Users)
    assert document is not None
    return document.users


def test_a_rotation_may_keep_the_old_password_for_a_while(environment: Environment) -> None:
    old, old_password = stored(environment)["ada"], environment.password("ada")
    begun = datetime.now(UTC)
    (login,) = users.rotate(environment, ["ada"], HOUR)
    new = stored(environment)["ada"]
    assert matches(login.password, new.hash)
    assert new.previous is not None
    assert new.previous.hash == old.hash
    assert matches(str(old_password), new.previous.hash)
    assert begun + HOUR <= new.previous.until <= datetime.now(UTC) + HOUR
    assert environment.password("ada") == login.password


def test_of_two_rotations_the_second_keeps_the_first_ones_password_only(
    environment: Environment,
) -> None:
    (first,) = users.rotate(environment, ["ada"], 24 * HOUR)
    users.rotate(environment, ["ada"], HOUR)
    previous = stored(environment)["ada"].previous
    assert previous is not None
    assert matches(first.password, previous.hash)
    assert previous.until < datetime.now(UTC) + 2 * HOUR


def test_a_rotation_without_keeping_ends_an_overlap(environment: Environment) -> None:
    users.rotate(environment, ["ada"], HOUR)
    users.rotate(environment, ["ada"])
    assert stored(environment)["ada"].previous is None


def test_the_list_says_how_long_an_old_password_works_and_not_that_it_did(
    environment: Environment,
) -> None:
    users.rotate(environment, ["ada"], HOUR)
    (ada,) = users.listed(environment)
    previous = stored(environment)["ada"].previous
    assert previous is not None
    assert ada.old_until == previous.until
    users.rotate(environment, ["ada"], timedelta(microseconds=1))
    (ada,) = users.listed(environment)
    assert ada.old_until is None


Command = Callable[..., Called]
TIMES = [("90m", 90 * 60), ("24h", 24 * 3600), ("7d", 7 * 86400)]


@pytest.mark.parametrize(("typed", "seconds"), TIMES)
def test_how_long_is_said_in_minutes_hours_or_days(
    command: Command, environment: Environment, typed: str, seconds: int
) -> None:
    called = command("users", "rotate", "ada", "--keep-old", typed, "--show-passwords")
    assert called.code == 0, called.err
    ada = stored(environment)["ada"]
    assert ada.previous is not None
    assert ada.previous.until - ada.rotated == timedelta(seconds=seconds)
    assert "(old password until " in command("users", "list").out


@pytest.mark.parametrize("typed", ["0h", "24", "h", "-1h", "1.5h", "1w", "24h ", "999999d", ""])
def test_another_word_for_a_time_is_refused_and_nobody_gets_a_new_password(
    command: Command, environment: Environment, typed: str
) -> None:
    before = stored(environment)
    called = command("users", "rotate", "ada", "--keep-old", typed, "--show-passwords")
    assert called.code == 2
    assert "90m, 24h or 7d" in called.err
    assert stored(environment) == before


def test_all_are_rotated_but_not_the_kits_own(command: Command, environment: Environment) -> None:
    users.add(environment, ["bob"])
    with users.temporary(environment, "verify") as own:
        before = stored(environment)
        called = command("users", "rotate", "--all", "--show-passwords")
        after = stored(environment)
    assert called.code == 0, called.err
    assert {name for name in before if before[name] != after[name]} == {"ada", "bob"}
    assert own.user not in called.out


@pytest.mark.parametrize("said", [[], ["ada", "--all"]], ids=["nobody", "both"])
def test_who_is_said_by_name_or_by_all(
    command: Command, environment: Environment, said: list[str]
) -> None:
    before = stored(environment)
    called = command("users", "rotate", *said, "--show-passwords")
    assert (called.code, "Say who, or --all" in called.err) == (2, True)
    assert stored(environment) == before


def test_a_wrong_name_keeps_every_old_password(environment: Environment) -> None:
    before = stored(environment)
    with pytest.raises(UsageError):
        users.rotate(environment, ["ada", "nobody"], HOUR)
    assert stored(environment) == before
