"""The control store: compare-and-swap, waiting, and changes of which none is lost."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackstack.agent.desired_state import DesiredState
from trackstack.agent.ensure_audited import ensure_audited
from trackstack.control.base import ConflictError, Stored, audit, change, read
from trackstack.control.directory import DirectoryStore
from trackstack.desired import User, Users, audit_entry, audit_key
from trackstack.errors import BusyError, TrackstackError
from unit.making import FakeMachine, user, users_document

KEY = Users.KEY
LONG = 30.0
"""Far longer than a wake-up takes: a wait that ends by its timeout is told from one that woke."""


class GoneError(BaseException):
    """Stands for a kill: nothing after it runs, and nothing catches it."""


def letting_in(name: str) -> Callable[[Users | None], dict[str, object]]:
    return lambda before: {"users": {**(before.users if before else {}), name: user()}}


def audits(store_folder: Path) -> Counter[tuple[str, int]]:
    found = [json.loads(file.read_bytes()) for file in store_folder.glob("audit/*/*.json")]
    return Counter((entry["document"], entry["generation"]) for entry in found)


def test_what_was_put_is_there_under_a_tag(store: DirectoryStore) -> None:
    assert store.get(KEY) is None
    tag = store.put(KEY, b"one", expect=None)
    assert store.get(KEY) == Stored(b"one", tag)


def test_the_same_bytes_have_one_tag_and_others_another(store: DirectoryStore) -> None:
    first = store.put("a", b"x", expect=None)
    assert store.put("b", b"x", expect=None) == first
    assert store.put("b", b"y", expect=first) != first


WRONG = ["no value was expected", "another value was expected", "the value before was expected"]


@pytest.mark.parametrize("case", WRONG)
def test_a_write_over_something_unseen_is_refused_and_changes_nothing(
    store: DirectoryStore, case: str
) -> None:
    first = store.put(KEY, b"first", expect=None)
    second = store.put(KEY, b"second", expect=first)
    expect = {WRONG[0]: None, WRONG[1]: "0" * 64, WRONG[2]: first}[case]
    with pytest.raises(ConflictError):
        store.put(KEY, b"third", expect=expect)
    assert store.get(KEY) == Stored(b"second", second)


def test_a_write_over_something_that_is_gone_is_refused(
    store: DirectoryStore, tmp_path: Path
) -> None:
    tag = store.put(KEY, b"first", expect=None)
    (tmp_path / "control" / KEY).unlink()
    with pytest.raises(ConflictError):
        store.put(KEY, b"second", expect=tag)
    assert store.get(KEY) is None


def test_all_of_a_store_is_for_its_owner_only(store: DirectoryStore, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store.put("audit/2026-11-20/users-1.json", b"x", expect=None)
    finally:
        os.umask(before)
    there = [tmp_path / "control", *(tmp_path / "control").rglob("*")]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in there}
    assert modes == {path: 0o700 if path.is_dir() else 0o600 for path in there}
    assert len(there) == 5  # three folders, the value, the lock


@given(
    turns=st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["see", "write"])), max_size=24),
)
@settings(max_examples=30)
def test_whatever_two_writers_do_by_turns_a_write_stands_on_what_its_writer_saw(
    turns: list[tuple[int, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("turns")
    stores = [DirectoryStore(folder), DirectoryStore(folder)]
    seen: list[Stored | None] = [None, None]
    history: list[bytes] = []
    for who, act in turns:
        if act == "see":
            seen[who] = stores[who].get(KEY)
            continue
        mine = seen[who]
        data = (mine.data if mine else b"") + bytes([65 + who])
        fresh = (mine.data if mine else None) == (history[-1] if history else None)
        try:
            seen[who] = Stored(data, stores[who].put(KEY, data, mine.tag if mine else None))
        except ConflictError:
            assert not fresh, "a write on the newest value was refused"
        else:
            assert fresh, "a write on an old value was taken"
            history.append(data)
    stored = stores[0].get(KEY)
    assert (stored.data if stored else None) == (history[-1] if history else None)


class InterruptedStore(DirectoryStore):
    """Lets others write just before each of this writer's own writes."""

    def __init__(self, folder: Path, others: list[Callable[[], object]]) -> None:
        super().__init__(folder)
        self._others = others

    def put(self, key: str, data: bytes, expect: str | None) -> str:
        if key == KEY and self._others:
            self._others.pop(0)()
        return super().put(key, data, expect)


@given(races=st.lists(st.sampled_from(["users", "nothing"]), max_size=6))
@settings(max_examples=20)
def test_a_change_that_loses_races_is_made_again_on_the_newest_document(
    races: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("races")
    plain = DirectoryStore(folder)
    others = [
        (lambda name=f"other{at}": change(plain, Users, "o", letting_in(name)))
        if race == "users"
        else (lambda: None)
        for at, race in enumerate(races)
    ]
    # A race without a write ends the change, so only those before it are lost.
    lost = races.index("nothing") if "nothing" in races else len(races)
    written = change(InterruptedStore(folder, list(others)), Users, "mine", letting_in("mine"))
    assert set(written.users) == {"mine", *(f"other{at}" for at in range(lost))}
    assert written.generation == lost + 1
    assert audits(folder) == {(KEY, each): 1 for each in range(1, lost + 2)}


def test_a_change_that_never_wins_ends_in_a_sentence(tmp_path: Path) -> None:
    plain = DirectoryStore(tmp_path)
    others = [lambda at=at: change(plain, Users, "o", letting_in(f"u{at}")) for at in range(200)]
    with pytest.raises(BusyError, match=r"desired/users\.json kept changing") as busy:
        change(InterruptedStore(tmp_path, list(others)), Users, "mine", letting_in("mine"))
    assert busy.value.exit_code == 5
    assert "mine" not in (read(plain, Users)[0] or users_document()).users


def test_a_refused_change_writes_nothing(store: DirectoryStore, tmp_path: Path) -> None:
    change(store, Users, "one", letting_in("ada"))
    before = store.get(KEY)

    def refuse(_: Users | None) -> dict[str, object]:
        raise TrackstackError("no")

    with pytest.raises(TrackstackError, match="no"):
        change(store, Users, "two", refuse)
    assert store.get(KEY) == before
    assert audits(tmp_path / "control") == {(KEY, 1): 1}


def test_a_damaged_document_is_not_written_over(store: DirectoryStore) -> None:
    store.put(KEY, b"{", expect=None)
    with pytest.raises(TrackstackError, match="is damaged"):
        change(store, Users, "one", letting_in("ada"))
    stored = store.get(KEY)
    assert stored is not None
    assert stored.data == b"{"


def test_each_change_leaves_exactly_one_audit_entry_that_says_what(
    store: DirectoryStore, tmp_path: Path
) -> None:
    written = [change(store, Users, f"add u{at}", letting_in(f"u{at}")) for at in range(3)]
    for each in written:
        audit(store, each)
        DesiredState(store).read(FakeMachine())
        stored = store.get(audit_key(each))
        assert stored is not None
        assert stored.data == audit_entry(each)
    assert audits(tmp_path / "control") == {(KEY, 1): 1, (KEY, 2): 1, (KEY, 3): 1}


class DyingStore(DirectoryStore):
    """Its process is gone as soon as a document is written."""

    def put(self, key: str, data: bytes, expect: str | None) -> str:
        tag = super().put(key, data, expect)
        if key == KEY:
            raise GoneError
        return tag


def test_the_agent_makes_the_audit_entry_of_a_writer_killed_after_its_write(
    store: DirectoryStore, tmp_path: Path
) -> None:
    with pytest.raises(GoneError):
        change(DyingStore(tmp_path / "control"), Users, "add ada", letting_in("ada"))
    assert audits(tmp_path / "control") == {}
    this = DesiredState(store).read(FakeMachine())
    ensure_audited(this)
    ensure_audited(this)
    assert audits(tmp_path / "control") == {(KEY, 1): 1}
    assert isinstance(this.users, Users)
    assert store.get(audit_key(this.users)) == Stored(
        audit_entry(this.users),
        store.get(audit_key(this.users)).tag,  # type: ignore[union-attr]
    )


def test_the_next_writer_makes_it_when_the_agent_never_saw_that_write(
    store: DirectoryStore, tmp_path: Path
) -> None:
    with pytest.raises(GoneError):
        change(DyingStore(tmp_path / "control"), Users, "add ada", letting_in("ada"))
    change(store, Users, "add bob", letting_in("bob"))
    assert audits(tmp_path / "control") == {(KEY, 1): 1, (KEY, 2): 1}


ADDS_MANY = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from trackstack.control.base import change
from trackstack.control.directory import DirectoryStore
from trackstack.desired import User, Users

folder, me, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
now = datetime.now(UTC)
one = User(hash="x", created=now, rotated=now)
store = DirectoryStore(folder)
print("ready", flush=True)
sys.stdin.readline()
for at in range(count):
    add = lambda before: {"users": {**(before.users if before else {}), f"{me}.{at}": one}}
    change(store, Users, f"add {me}.{at}", add)
"""


def test_many_processes_at_once_lose_no_change(store: DirectoryStore, tmp_path: Path) -> None:
    who, each = ["a", "b", "c"], 12
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", ADDS_MANY, str(tmp_path / "control"), name, str(each)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in who
    ]
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
        failures = []
        for writer in writers:  # all of them wait at the same line
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
        for writer in writers:
            _, errors = writer.communicate(timeout=60)
            failures += [errors] if writer.returncode else []
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    assert failures == []
    document, _ = read(store, Users)
    assert document is not None
    assert set(document.users) == {f"{name}.{at}" for name in who for at in range(each)}
    assert document.generation == len(who) * each
    assert audits(tmp_path / "control") == {(KEY, at): 1 for at in range(1, len(who) * each + 1)}


class WatchedStore(DirectoryStore):
    """Sets an event after its first look, when its watch is up."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.looked = threading.Event()

    def get(self, key: str) -> Stored | None:
        stored = super().get(key)
        self.looked.set()
        return stored


def after_first_look(store: WatchedStore, act: Callable[[], object]) -> threading.Thread:
    def wait_and_act() -> None:
        assert store.looked.wait(LONG)
        act()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    return thread


@pytest.mark.parametrize("there", [True, False], ids=["changed", "made"])
def test_a_waiter_wakes_when_a_value_is(tmp_path: Path, there: bool) -> None:
    waiting, writing = WatchedStore(tmp_path / "control"), DirectoryStore(tmp_path / "control")
    tag = writing.put(KEY, b"one", expect=None) if there else None
    writer = after_first_look(waiting, lambda: writing.put(KEY, b"two", expect=tag))
    started = time.monotonic()
    assert waiting.wait_for_change({KEY: tag}, LONG)
    took = time.monotonic() - started
    writer.join()
    assert took < LONG / 2, f"it took {took:.1f} s"


def test_a_waiter_wakes_when_a_value_is_removed(tmp_path: Path) -> None:
    waiting, writing = WatchedStore(tmp_path), DirectoryStore(tmp_path)
    tag = writing.put(KEY, b"one", expect=None)
    remover = after_first_look(waiting, (tmp_path / KEY).unlink)
    started = time.monotonic()
    assert waiting.wait_for_change({KEY: tag}, LONG)
    assert time.monotonic() - started < LONG / 2
    remover.join()


def test_a_waiter_wakes_for_any_of_its_keys(tmp_path: Path) -> None:
    waiting, writing = WatchedStore(tmp_path), DirectoryStore(tmp_path)
    writer = after_first_look(waiting, lambda: writing.put("b/c", b"x", expect=None))
    started = time.monotonic()
    assert waiting.wait_for_change({"a": None, "b/c": None}, LONG)
    assert time.monotonic() - started < LONG / 2
    writer.join()


def test_a_waiter_sleeps_through_a_change_of_another_key(tmp_path: Path) -> None:
    waiting, writing = WatchedStore(tmp_path), DirectoryStore(tmp_path)
    writer = after_first_look(waiting, lambda: writing.put("other", b"x", expect=None))
    assert not waiting.wait_for_change({KEY: None}, 0.3)
    writer.join()
    assert writing.get("other") is not None


def test_a_wait_without_a_change_ends_after_its_time(store: DirectoryStore) -> None:
    tag = store.put(KEY, b"one", expect=None)
    started = time.monotonic()
    assert not store.wait_for_change({KEY: tag}, 0.1)
    assert 0.1 <= time.monotonic() - started < LONG / 2


def test_a_change_between_two_waits_is_not_missed(store: DirectoryStore, tmp_path: Path) -> None:
    tag = store.put(KEY, b"one", expect=None)
    assert not store.wait_for_change({KEY: tag}, 0.01)
    DirectoryStore(tmp_path / "control").put(KEY, b"two", expect=tag)
    started = time.monotonic()
    assert store.wait_for_change({KEY: tag}, LONG)
    assert time.monotonic() - started < LONG / 2


def test_a_change_before_the_first_wait_is_not_missed(
    store: DirectoryStore, tmp_path: Path
) -> None:
    DirectoryStore(tmp_path / "control").put(KEY, b"one", expect=None)
    assert store.wait_for_change({KEY: None}, LONG)


def test_control_c_ends_a_wait(tmp_path: Path) -> None:
    waiting = WatchedStore(tmp_path)
    sender = after_first_look(waiting, lambda: os.kill(os.getpid(), signal.SIGINT))
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        waiting.wait_for_change({KEY: None}, 5)
    assert time.monotonic() - started < 4
    sender.join()


def test_an_entry_that_somebody_else_made_meanwhile_is_left_alone(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = users_document(ada=user())
    audit(store, document)
    monkeypatch.setattr(store, "get", lambda _: None)
    audit(store, document)


def test_a_document_remembers_the_person_and_the_computer(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "grace")
    monkeypatch.setattr("platform.node", lambda: "eniac")
    written = change(store, Users, "add ada", letting_in("ada"))
    assert (written.change.who, written.change.where) == ("grace", "eniac")
    assert written.change.what == "add ada"


def test_an_account_without_a_name_is_written_as_its_number(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr("getpass.getuser", nameless)
    assert change(store, Users, "x", letting_in("ada")).change.who == str(os.getuid())


def test_the_users_of_a_document_are_users(store: DirectoryStore) -> None:
    change(store, Users, "x", letting_in("ada"))
    document, tag = read(store, Users)
    assert document is not None
    assert isinstance(document.users["ada"], User)
    assert tag == (store.get(KEY) or Stored(b"", "")).tag
