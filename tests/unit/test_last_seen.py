"""When users were last let in: read on from nginx's log, and told where the log is not at hand."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from trackstack.agent import folders
from trackstack.agent.last_seen import LastSeen
from trackstack.agent.tell_last_seen import tell_last_seen
from trackstack.control.base import read
from trackstack.control.directory import DirectoryStore
from trackstack.desired import Seen
from unit.making import NOON, a_round, user, users_document
from unit.memory_bucket import MemoryBucket

MINUTE = timedelta(minutes=1)
PUT = ("PUT", Seen.KEY)


def entered(user: str, at: datetime = NOON) -> str:
    return json.dumps({"time": at.isoformat(), "user": user}) + "\n"


@pytest.fixture
def log(machine_folder: Path) -> Path:
    return machine_folder / folders.NGINX_LOG


def append(log: Path, text: str) -> None:
    with log.open("a") as file:
        file.write(text)


def test_each_line_is_read_once_also_after_rotations(log: Path) -> None:
    seen = LastSeen()
    seen.look()
    assert seen.users == {}
    log.write_text(entered("ada") + entered("bob"))
    seen.look()
    assert seen.users == {"ada": NOON, "bob": NOON}
    seen.users.clear()
    seen.look()
    assert seen.users == {}, "lines were read again"
    append(log, entered("eve"))
    log.rename(log.with_name(f"{log.name}.1"))
    log.write_text(entered("ada", NOON + MINUTE))
    seen.look()
    assert seen.users == {"eve": NOON, "ada": NOON + MINUTE}


def test_a_line_that_is_being_written_is_read_when_it_is_whole(log: Path) -> None:
    seen = LastSeen()
    line = entered("ada")
    log.write_text(entered("bob") + line[:20])
    seen.look()
    append(log, line[20:])
    seen.look()
    assert set(seen.users) == {"ada", "bob"}


def test_a_new_file_with_the_number_of_a_removed_one_is_read_from_its_beginning(log: Path) -> None:
    seen = LastSeen()
    log.write_text(entered("ada") * 3)
    seen.look()
    # As another file with the same number: the first line tells.
    log.write_text(entered("bob") + entered("eve") * 4)
    seen.look()
    assert set(seen.users) == {"ada", "bob", "eve"}


def test_news_are_told_every_five_minutes_and_a_users_first_time_at_once(log: Path) -> None:
    bucket, seen = MemoryBucket(), LastSeen()
    people = users_document(ada=user(), bob=user())

    def tell(minutes: int) -> dict[str, datetime]:
        tell_last_seen(a_round(store=bucket, users=people, seen=seen, now=NOON + minutes * MINUTE))
        told, _ = read(bucket, Seen)
        assert told is not None
        return told.users

    log.write_text(entered("ada") + entered("removed.meanwhile"))
    assert tell(0) == {"ada": NOON}
    append(log, entered("ada", NOON + 3 * MINUTE))
    assert tell(4) == {"ada": NOON}
    assert tell(5) == {"ada": NOON + 3 * MINUTE}
    for minutes in range(6, 60):
        tell(minutes)
    assert bucket.asked[PUT] == 2
    append(log, entered("ada", NOON + 60 * MINUTE))
    tell(60)
    append(log, entered("bob", NOON + 61 * MINUTE))
    assert set(tell(61)) == {"ada", "bob"}, "a user's first time was not told at once"


def test_an_agent_that_starts_anew_writes_nothing_that_is_told_already(log: Path) -> None:
    bucket, people = MemoryBucket(), users_document(ada=user())
    log.write_text(entered("ada"))
    for _ in range(2):
        tell_last_seen(a_round(store=bucket, users=people))
    assert bucket.asked[PUT] == 1


def test_on_one_computer_nothing_is_told_because_the_log_is_at_hand(
    log: Path, store: DirectoryStore
) -> None:
    log.write_text(entered("ada"))
    tell_last_seen(a_round(store=store, users=users_document(ada=user())))
    assert store.get(Seen.KEY) is None
