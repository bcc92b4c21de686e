"""What holds of every control store: in a folder, in S3, in Google Cloud Storage."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from opened import QUIET, Opened

from trackstack.control.base import ConflictError, ControlStore, Stored, audit, change, read
from trackstack.control.opening import open_store
from trackstack.desired import User, Users, audit_key
from trackstack.errors import TrackstackError

pytestmark = QUIET

LONG = 30.0
"""Far longer than a wake-up takes."""
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ONE = User(hash="x", created=NOON, rotated=NOON)
ODD = [
    "a/b/c/d",
    "with space",
    "100%25 and +plus&more=?#x",
    "über-東京",
    ".hidden",
    "ends.with.dots..",
    'it\'s "quoted" \\ and ~',
]


def letting_in(name: str) -> Callable[[Users | None], dict[str, object]]:
    return lambda before: {"users": {**(before.users if before else {}), name: ONE}}


def test_what_was_put_is_there_under_its_tag(opened: Opened) -> None:
    store, key = opened(), opened.key("a")
    assert store.get(key) is None
    first = store.put(key, b"one", expect=None)
    assert store.get(key) == Stored(b"one", first)
    second = store.put(key, b"two", expect=first)
    assert first != second
    assert opened().get(key) == Stored(b"two", second)


@pytest.mark.parametrize("data", [b"", b"\0\xff\r\n", bytes(3_000_000)], ids=["0", "4", "3 MB"])
def test_a_value_comes_back_to_the_byte(opened: Opened, data: bytes) -> None:
    store, key = opened(), opened.key("a")
    tag = store.put(key, data, expect=None)
    assert store.get(key) == Stored(data, tag)


@pytest.mark.parametrize("seen", ["nothing", "the one before"])
def test_a_write_over_something_unseen_is_refused_and_changes_nothing(
    opened: Opened, seen: str
) -> None:
    store, key = opened(), opened.key("a")
    first = store.put(key, b"first", expect=None)
    second = store.put(key, b"second", expect=first)
    with pytest.raises(ConflictError):
        store.put(key, b"third", expect=first if seen == "the one before" else None)
    assert store.get(key) == Stored(b"second", second)


def test_the_same_bytes_are_no_excuse_for_a_write_over_something_unseen(opened: Opened) -> None:
    opened().put(opened.key("a"), b"same", expect=None)
    with pytest.raises(ConflictError):
        opened().put(opened.key("a"), b"same", expect=None)


def test_a_write_over_something_that_is_not_there_is_refused(opened: Opened) -> None:
    store = opened()
    tag = store.put(opened.key("a"), b"x", expect=None)
    with pytest.raises(ConflictError):
        store.put(opened.key("b"), b"y", expect=tag)
    assert store.get(opened.key("b")) is None


@pytest.mark.parametrize("name", ODD)
def test_a_key_may_be_odd(opened: Opened, name: str) -> None:
    store, key = opened(), opened.key(name)
    tag = store.put(key, b"one", expect=None)
    assert store.get(key) == Stored(b"one", tag)
    assert store.list(opened.key("")) == [key]
    assert store.modified(key) is not None
    assert store.put(key, b"two", expect=tag) != tag


def test_the_keys_that_begin_so_are_listed_in_order(opened: Opened) -> None:
    store = opened()
    for name in ("b/2", "a", "b/1", "bc"):
        store.put(opened.key(name), b"x", expect=None)
    assert store.list(opened.key("b")) == [opened.key(name) for name in ("b/1", "b/2", "bc")]
    assert store.list(opened.key("b/")) == [opened.key(name) for name in ("b/1", "b/2")]
    assert store.list(opened.key("x")) == []


def test_when_a_value_was_written_is_known_by_the_stores_clock(opened: Opened) -> None:
    store = opened()
    assert store.modified(opened.key("a")) is None
    store.put(opened.key("a"), b"x", expect=None)
    known = store.modified(opened.key("a"))
    assert known is not None
    written, now = known
    # The Date of an answer has whole seconds.
    assert timedelta(seconds=-1) <= now - written < timedelta(seconds=LONG)
    assert abs(now - datetime.now(UTC)) < timedelta(seconds=LONG)


def test_threads_that_change_one_document_at_once_lose_nothing(opened: Opened) -> None:
    who, each = ["a", "b", "c", "d"], 5
    together = threading.Barrier(len(who))
    failures: list[BaseException] = []

    def work(me: str) -> None:
        try:
            store = opened()
            together.wait(LONG)
            for at in range(each):
                change(store, Mine, f"add {me}.{at}", letting_in(f"{me}.{at}"))
        except BaseException as error:
            failures.append(error)

    class Mine(Users):
        KEY = opened.key("users.json")

    threads = [threading.Thread(target=work, args=(me,)) for me in who]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    document, _ = read(opened(), Mine)
    assert document is not None
    assert set(document.users) == {f"{me}.{at}" for me in who for at in range(each)}
    assert document.generation == len(who) * each


def test_of_those_who_make_one_value_at_once_one_wins(opened: Opened) -> None:
    together, won = threading.Barrier(6), Counter[str]()

    def work(at: int) -> None:
        store = opened()
        together.wait(LONG)
        try:
            store.put(opened.key("a"), str(at).encode(), expect=None)
        except ConflictError:
            won["lost"] += 1
        else:
            won[str(at)] += 1

    threads = [threading.Thread(target=work, args=(at,)) for at in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stored = opened().get(opened.key("a"))
    assert stored is not None
    assert won == {stored.data.decode(): 1, "lost": 5}


def test_an_audit_entry_is_left_once(opened: Opened) -> None:
    class Mine(Users):
        KEY = opened.key("users.json")

    store = opened()
    written = change(store, Mine, "add ada", letting_in("ada"))
    before = store.get(audit_key(written))
    audit(opened(), written)
    assert before is not None
    assert store.get(audit_key(written)) == before


def woken(waiting: ControlStore, seen: dict[str, str | None], act: Callable[[], object]) -> float:
    """How many seconds a wait took, in whose middle something is done."""
    started = time.monotonic()
    actor = threading.Timer(0.5, act)
    actor.start()
    try:
        assert waiting.wait_for_change(seen, LONG), "nothing woke it"
    finally:
        actor.join()
    return time.monotonic() - started


@pytest.mark.parametrize("place", ["desired", "observed"])
@pytest.mark.parametrize("there", [True, False], ids=["changed", "made"])
def test_a_waiter_wakes_when_a_value_is(opened: Opened, place: str, there: bool) -> None:
    waiting, writing = opened(), opened()
    key = opened.key("a").replace("desired", place)
    tag = writing.put(key, b"one", expect=None) if there else None
    other = opened.key("b").replace("desired", place)
    seen = {other: None, key: tag}
    assert not waiting.wait_for_change(seen, 0.1)
    took = woken(waiting, seen, lambda: writing.put(key, b"two", expect=tag))
    assert took < (10 if place == "desired" else 5), f"it took {took:.1f} s"


def test_a_change_before_or_between_waits_is_not_missed(opened: Opened) -> None:
    waiting, key = opened(), opened.key("a")
    tag = opened().put(key, b"one", expect=None)
    started = time.monotonic()
    assert waiting.wait_for_change({key: None}, LONG)
    assert not waiting.wait_for_change({key: tag}, 0.1)
    second = opened().put(key, b"two", expect=tag)
    # Twice: whoever does not act on it is told again.
    assert waiting.wait_for_change({key: tag}, LONG)
    assert waiting.wait_for_change({key: tag}, LONG)
    assert not waiting.wait_for_change({key: second}, 0.1)
    assert time.monotonic() - started < LONG / 2


def test_a_wait_without_a_change_ends_after_its_time(opened: Opened) -> None:
    store, key = opened(), opened.key("a")
    seen = {key: store.put(key, b"one", expect=None)}
    started = time.monotonic()
    assert not store.wait_for_change(seen, 0.2)
    assert 0.2 <= time.monotonic() - started < LONG / 2


def test_what_is_no_address_of_a_store_is_refused_with_a_way_out() -> None:
    for address in ("https://example.com/x", "s3://bucket", "azure://x"):
        with pytest.raises(TrackstackError) as error:
            open_store(address)
        assert error.value.exit_code == 2
        assert error.value.hint


def test_a_folder_is_a_store_wherever_it_lies(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "a folder: 100% odd"))
    store.put("a", b"x", expect=None)
    assert (tmp_path / "a folder: 100% odd" / "a").read_bytes() == b"x"
