"""The agent lets two passwords in while one is on its way out, and lets that one die in time."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trackstack.agent import converge as rounds
from trackstack.agent import folders
from trackstack.agent.ensure_users import ensure_users
from trackstack.credentials import hash_password
from trackstack.desired import Previous, User, expiries
from unit.making import HASH, NOON, a_round, user, users_document

pytestmark = pytest.mark.usefixtures("machine_folder")
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
OLD = hash_password("the old one")


def rotating(until: datetime, expires: datetime | None = None) -> User:
    return user(expires=expires).model_copy(update={"previous": Previous(hash=OLD, until=until)})


def lines() -> dict[str, str]:
    """What nginx would read of ada."""
    folder = folders.USERS / "ada"
    return {file.name: file.read_text() for file in folder.iterdir()} if folder.is_dir() else {}


BOTH = {"current": f"ada:{HASH}\n", "previous": f"ada:{OLD}\n"}
NEW = {"current": f"ada:{HASH}\n"}


@pytest.mark.parametrize(
    ("until", "expected"),
    [(NOON + SECOND, BOTH), (NOON, NEW), (NOON - SECOND, NEW)],
    ids=["before", "at its end", "after"],
)
def test_the_old_password_works_until_its_end_and_not_at_it(
    until: datetime, expected: dict[str, str]
) -> None:
    ensure_users(a_round(users=users_document(ada=rotating(until))))
    assert lines() == expected


def test_the_old_password_dies_in_the_round_after_its_end() -> None:
    people = users_document(ada=rotating(NOON + HOUR))
    ensure_users(a_round(users=people))
    assert lines() == BOTH
    ensure_users(a_round(users=people, now=NOON + HOUR))
    assert lines() == NEW


def test_a_rotation_without_an_overlap_ends_one_that_is_under_way() -> None:
    ensure_users(a_round(users=users_document(ada=rotating(NOON + HOUR))))
    ensure_users(a_round(users=users_document(ada=user())))
    assert lines() == NEW


def test_who_is_shut_out_is_so_with_both_passwords() -> None:
    ensure_users(a_round(users=users_document(ada=rotating(NOON + HOUR))))
    ensure_users(a_round(users=users_document()))
    assert list(folders.USERS.iterdir()) == []


def test_the_old_password_outlives_no_expiry() -> None:
    people = users_document(ada=rotating(NOON + HOUR, expires=NOON + SECOND))
    ensure_users(a_round(users=people))
    assert lines() == BOTH
    ensure_users(a_round(users=people, now=NOON + SECOND))
    assert lines() == {}


def test_at_no_moment_of_a_rotation_does_neither_password_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = users_document(ada=user(hashed=OLD))
    after = users_document(ada=rotating(NOON + HOUR))
    seen: list[set[str]] = []
    replace = Path.replace

    def looking(new: Path, target: Path) -> Path:
        done = replace(new, target)
        seen.append({line.strip().partition(":")[2] for line in lines().values()})
        return done

    ensure_users(a_round(users=before))
    monkeypatch.setattr(Path, "replace", looking)
    ensure_users(a_round(users=after))
    assert seen == [{OLD}, {OLD, HASH}]


def noting(act: Callable[..., object], seen: list[set[str]]) -> Callable[..., object]:
    """A change of a file that notes what nginx would read after it."""

    def acting(path: Path, *more: object, **options: object) -> object:
        done = act(path, *more, **options)
        seen.append(set(lines().values()))
        return done

    return acting


def test_a_password_that_is_current_again_is_never_shut_out_in_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A document put back: the files change in an order in which both always open."""
    ensure_users(a_round(users=users_document(ada=rotating(NOON + HOUR))))
    seen: list[set[str]] = []
    for name in ("replace", "unlink"):
        monkeypatch.setattr(Path, name, noting(getattr(Path, name), seen))
    ensure_users(a_round(users=users_document(ada=user(hashed=OLD))))
    assert seen
    assert all(f"ada:{OLD}\n" in each for each in seen)
    assert lines() == {"current": f"ada:{OLD}\n"}


def test_an_unchanged_overlap_touches_no_file() -> None:
    people = users_document(ada=rotating(NOON + HOUR))
    ensure_users(a_round(users=people))
    before = {file: file.stat().st_ino for file in folders.USERS.glob("*/*")}
    ensure_users(a_round(users=people, now=NOON + SECOND))
    assert {file: file.stat().st_ino for file in folders.USERS.glob("*/*")} == before
    assert len(before) == 2


def test_the_end_of_an_overlap_wakes_the_agent() -> None:
    now = datetime.now(UTC)
    soon = users_document(ada=rotating(now + 3 * SECOND), bob=rotating(now + HOUR))
    assert 1 < rounds._pause(a_round(users=soon, now=now), 0, 30.0, looked_at=False) <= 3
    late = users_document(ada=rotating(now + HOUR))
    assert rounds._pause(a_round(users=late, now=now), 0, 30.0, looked_at=False) > 3


def test_both_times_of_a_user_run_out() -> None:
    people = users_document(ada=rotating(NOON, expires=NOON + HOUR), bob=user())
    assert sorted(expiries(people)) == [NOON, NOON + HOUR]
