"""A control store in a bucket: what waiting costs, and that no change is slept through."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, tzinfo

import pytest

from trackstack.agent import converge as rounds
from trackstack.agent import desired_state, folders
from trackstack.agent.converge import STEPS, run_forever
from trackstack.agent.desired_state import DesiredState
from trackstack.agent.report import Reporter
from trackstack.control.base import ConflictError, Stored
from trackstack.control.bucket import BELL, UnsureError
from trackstack.desired import (
    AUTHORITIES_KEY,
    Applied,
    Cleanup,
    Release,
    StepReport,
    Users,
    observed_key,
)
from trackstack.errors import TrackstackError
from unit.making import NOON, FakeMachine, cleanup, plan, release, user, users_document
from unit.memory_bucket import DAY, MemoryBucket

DAYS_OF_A_MONTH = 30
USD_OF_A_PUT, USD_OF_A_GET = 0.005 / 1000, 0.0004 / 1000
"""As in docs/aws.md, which names their source."""
LOST_RING_SECONDS, BELL_SECONDS = 120, 5


@pytest.fixture
def bucket() -> MemoryBucket:
    return MemoryBucket()


@pytest.mark.usefixtures("machine_folder")
def test_an_idle_agent_costs_little(
    bucket: MemoryBucket,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    # What starts programs asks nothing of the store.
    real = {"folders", "users", "audited", "files", "certificates", "retired", "cleaned"}
    monkeypatch.setattr(rounds, "STEPS", tuple(step for step in STEPS if step.name in real))
    bucket.put(Users.KEY, users_document(ada=user()).to_bytes(), expect=None)
    served = release(plan(listen="192.168.1.20", hostnames=["mlflow.example.com"]))
    bucket.put(Release.KEY, served.to_bytes(), expect=None)
    bucket.asked.clear()
    with pytest.raises(SystemExit):
        run_forever(bucket, FakeMachine(), Reporter(bucket, "m"))
    puts = sum(times for (verb, _), times in bucket.asked.items() if verb == "PUT")
    gets = sum(times for (verb, _), times in bucket.asked.items() if verb == "GET")
    usd = DAYS_OF_A_MONTH * (puts * USD_OF_A_PUT + gets * USD_OF_A_GET)
    told = f"a day: {puts} PUT + {gets} GET = {puts + gets}; {usd:.2f} USD a month"
    record_property("idle agent", told)
    print(told)
    assert bucket.asked["PUT", observed_key("m")] >= DAY / bucket.heartbeat_seconds
    assert bucket.values[AUTHORITIES_KEY].data
    assert puts + gets <= 25_000, f"{told}\n{bucket.asked.most_common(12)}"
    assert usd <= 1, told


def test_an_idle_wait_asks_for_the_bell_only(bucket: MemoryBucket) -> None:
    seen = {Users.KEY: bucket.put(Users.KEY, b"one", expect=None), Release.KEY: None}
    assert not bucket.wait_for_change(seen, 60)
    bucket.asked.clear()
    assert not bucket.wait_for_change(seen, 60)
    assert set(bucket.asked) == {("GET", BELL)}
    assert bucket.asked["GET", BELL] == 60 / BELL_SECONDS + 1


def test_a_change_with_a_ring_is_seen_within_seconds(bucket: MemoryBucket) -> None:
    seen = {Users.KEY: bucket.put(Users.KEY, b"one", expect=None)}
    assert not bucket.wait_for_change(seen, 60)
    begun = bucket.now
    bucket.events[begun + 21] = lambda: bucket.put(Users.KEY, b"two", expect=seen[Users.KEY])
    assert bucket.wait_for_change(seen, 600)
    assert bucket.now - begun <= 21 + BELL_SECONDS


def test_a_ring_for_no_change_ends_a_wait_too(bucket: MemoryBucket) -> None:
    seen = {Users.KEY: bucket.put(Users.KEY, b"one", expect=None)}
    assert not bucket.wait_for_change(seen, 60)
    begun = bucket.now
    bucket.events[begun + 21] = bucket.ring
    assert bucket.wait_for_change(seen, 600)
    assert bucket.now - begun <= 21 + BELL_SECONDS
    assert not bucket.wait_for_change(seen, 60), "one ring was heard twice"


def test_a_change_soon_after_another_is_seen_within_a_second(bucket: MemoryBucket) -> None:
    tag = bucket.put(Users.KEY, b"0", expect=None)
    assert not bucket.wait_for_change({Users.KEY: tag}, 600)
    for number in range(1, 4):
        seen, begun = {Users.KEY: tag}, bucket.now
        bucket.events[begun + 30.5] = lambda tag=tag, n=number: bucket.put(
            Users.KEY, b"%d" % n, expect=tag
        )
        assert bucket.wait_for_change(seen, 600)
        assert bucket.now - begun <= 30.5 + (BELL_SECONDS if number == 1 else 1)
        tag = bucket.values[Users.KEY].tag


def test_a_change_whose_ring_was_lost_is_seen_within_minutes(bucket: MemoryBucket) -> None:
    seen = {Users.KEY: bucket.put(Users.KEY, b"one", expect=None)}
    assert not bucket.wait_for_change(seen, 60)
    begun = bucket.now
    bucket.events[begun + 21] = lambda: bucket.change(Users.KEY, b"two")
    waits = 0
    while not bucket.wait_for_change(seen, 60):
        waits += 1
        assert waits < 10, "it was never seen"
    assert bucket.now - begun <= LOST_RING_SECONDS + 2 * BELL_SECONDS


def test_a_ring_during_a_look_is_not_lost(bucket: MemoryBucket) -> None:
    seen = {Users.KEY: bucket.put(Users.KEY, b"one", expect=None), Release.KEY: None}
    looked = bucket.get_unless

    def late(key: str, known: str | None) -> Stored | None:
        try:
            return looked(key, known)
        finally:
            if key == Release.KEY:  # the users were looked at already
                bucket.get_unless = looked  # type: ignore[method-assign]
                bucket.put(Users.KEY, b"two", expect=seen[Users.KEY])

    bucket.get_unless = late  # type: ignore[method-assign]
    assert bucket.wait_for_change(seen, 60)
    assert bucket.now <= BELL_SECONDS


def test_a_look_that_fails_is_made_again(bucket: MemoryBucket) -> None:
    seen = {Users.KEY: bucket.put(Users.KEY, b"one", expect=None)}
    assert not bucket.wait_for_change(seen, 60)
    bucket.put(Users.KEY, b"two", expect=seen[Users.KEY])
    looked = bucket.get_unless

    def failing(key: str, known: str | None) -> Stored | None:
        if key == Users.KEY:
            raise TrackstackError("The bucket does not answer.")
        return looked(key, known)

    bucket.get_unless = failing  # type: ignore[method-assign]
    with pytest.raises(TrackstackError):
        bucket.wait_for_change(seen, 60)
    bucket.get_unless = looked  # type: ignore[method-assign]
    begun = bucket.now
    assert bucket.wait_for_change(seen, 60)
    assert bucket.now == begun


def test_only_writes_of_desired_documents_ring(bucket: MemoryBucket) -> None:
    bucket.put("observed/x", b"", expect=None)
    bucket.put("audit/x", b"", expect=None)
    assert bucket.asked["PUT", BELL] == 0
    bucket.put(Users.KEY, b"", expect=None)
    assert bucket.asked["PUT", BELL] == 1


def test_a_write_whose_ring_fails_is_written_and_no_failure(
    bucket: MemoryBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise TrackstackError("The bucket does not answer.")

    monkeypatch.setattr(bucket, "_put_anyway", refused)
    tag = bucket.put(Users.KEY, b"one", expect=None)
    assert bucket.values == {Users.KEY: Stored(b"one", tag)}


@pytest.mark.parametrize("mine", [True, False], ids=["its own", "somebody else's"])
def test_after_a_lost_answer_a_writer_finds_out_whose_value_it_is(
    bucket: MemoryBucket, monkeypatch: pytest.MonkeyPatch, mine: bool
) -> None:
    def lost(key: str, data: bytes, _: str | None) -> str:
        bucket.change(key, data if mine else b"another")
        raise UnsureError(key)

    monkeypatch.setattr(bucket, "_put", lost)
    if mine:
        assert bucket.put(Users.KEY, b"mine", expect=None) == bucket.values[Users.KEY].tag
        assert bucket.asked["PUT", BELL] == 1
    else:
        with pytest.raises(ConflictError):
            bucket.put(Users.KEY, b"mine", expect=None)


def asleep_in(bucket: MemoryBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent's own sleeps move the bucket's clock too."""
    monkeypatch.setattr("time.sleep", bucket.sleep)
    monkeypatch.setattr("time.monotonic", bucket.clock)


@pytest.mark.usefixtures("machine_folder")
def test_an_agent_that_starts_while_the_bucket_is_away_reads_when_it_is_back(
    bucket: MemoryBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    asleep_in(bucket, monkeypatch)
    bucket.put(Users.KEY, users_document(ada=user()).to_bytes(), expect=None)
    desired = DesiredState(bucket)
    bucket.away = True
    assert desired.read(FakeMachine()).users is None
    bucket.away = False  # between the look and the wait
    desired.wait(60)
    assert isinstance(desired.read(FakeMachine()).users, Users)
    assert bucket.now <= 10


@pytest.mark.parametrize("failing", [Users.KEY, Release.KEY, Cleanup.KEY])
def test_what_could_not_be_read_once_is_read_the_next_time(
    bucket: MemoryBucket, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    asleep_in(bucket, monkeypatch)
    desired = DesiredState(bucket)
    desired.read(FakeMachine())
    desired.wait(60)
    for document in (users_document(ada=user()), release(), cleanup()):
        bucket.put(document.KEY, document.to_bytes(), expect=None)
    desired.wait(60)
    looked = bucket.get_unless

    def flaky(key: str, known: str | None) -> Stored | None:
        if key == failing:
            bucket.get_unless = looked  # type: ignore[method-assign]
            raise TrackstackError("The bucket does not answer.")
        return looked(key, known)

    bucket.get_unless = flaky  # type: ignore[method-assign]
    desired.read(FakeMachine())
    desired.wait(60)
    this = desired.read(FakeMachine())
    kinds = [type(each) for each in (this.users, this.release, this.cleanup)]
    assert kinds == [Users, Release, Cleanup]
    assert bucket.now < 60 + 30


class Noting(Reporter):
    """Also knows whether the rounds ended well whose reports could not be written."""

    def __init__(self, store: MemoryBucket) -> None:
        super().__init__(store, "m")
        self.noted: list[tuple[float, list[str]]] = []
        self._clock = store.clock

    def write(
        self, healthy: bool, seen: Applied, applied: Applied, steps: Sequence[StepReport]
    ) -> None:
        failed = [f"{step.name}: {step.problem}" for step in steps if step.state == "failed"]
        self.noted.append((self._clock(), failed))
        super().write(healthy, seen, applied, steps)


@pytest.mark.usefixtures("machine_folder")
def test_a_bucket_that_is_gone_for_five_minutes_ends_no_agent_and_then_gets_its_report(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bucket = MemoryBucket(until=600)
    asleep_in(bucket, monkeypatch)

    class Time(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Time":
            return cls.fromtimestamp(NOON.timestamp() + bucket.now, tz)

    for module in (rounds, desired_state):
        monkeypatch.setattr(module, "datetime", Time)
    real = {"folders", "users", "audited", "files", "certificates", "retired", "cleaned"}
    monkeypatch.setattr(rounds, "STEPS", tuple(step for step in STEPS if step.name in real))
    guest = user(expires=NOON + timedelta(seconds=250))
    bucket.put(Users.KEY, users_document(ada=user(), bob=guest).to_bytes(), expect=None)
    served = release(plan(listen="192.168.1.20", hostnames=["mlflow.example.com"]))
    bucket.put(Release.KEY, served.to_bytes(), expect=None)
    reports: list[float] = []
    put = bucket.put

    def noted(key: str, data: bytes, expect: str | None) -> str:
        tag = put(key, data, expect)
        reports.extend([bucket.now] if key == observed_key("m") else [])
        return tag

    monkeypatch.setattr(bucket, "put", noted)
    let_in: dict[float, set[str]] = {}

    def look() -> None:
        names = {"ada", "bob"}
        let_in[bucket.now] = {n for n in names if (folders.USERS / n / "current").is_file()}

    bucket.events[100.0] = lambda: setattr(bucket, "away", True)
    for at in (240.0, 251.0, 390.0):
        bucket.events[at] = look
    bucket.events[400.0] = lambda: setattr(bucket, "away", False)
    reporter = Noting(bucket)
    with pytest.raises(SystemExit):
        run_forever(bucket, FakeMachine(), reporter)
    assert list(let_in.values()) == [{"ada", "bob"}, {"ada"}, {"ada"}], let_in
    rounds_without = [failed for at, failed in reporter.noted if 100 < at < 400]
    assert len(rounds_without) >= 10
    assert not any(rounds_without), "no step needs a bucket that holds nothing new"
    assert not [at for at in reports if 100 < at < 400]
    assert [at for at in reports if 400 <= at <= 430], f"no report soon after: {reports}"
