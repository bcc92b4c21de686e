"""The agent's rounds: which steps run, what is reported, and how long it sleeps."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trackstack.agent import converge as rounds
from trackstack.agent import folders
from trackstack.agent.converge import Step, converge, fall_back, run_forever
from trackstack.agent.desired_state import DesiredState
from trackstack.agent.ensure_nginx import link
from trackstack.agent.ensure_release import ensure_files, place_service
from trackstack.agent.ensure_users import ensure_users
from trackstack.agent.machine import StepError
from trackstack.agent.report import Reporter, _nginx_version
from trackstack.agent.round import Round
from trackstack.control.base import AwayError, ConflictError, Stored, read
from trackstack.control.directory import DirectoryStore
from trackstack.desired import (
    Applied,
    Observed,
    Release,
    StepReport,
    Users,
    observed_key,
)
from trackstack.errors import TrackstackError
from unit.making import FakeMachine, a_round, cleanup, plan, release, user, users_document

pytestmark = pytest.mark.usefixtures("machine_folder")
DAMAGED = TrackstackError("It is damaged.")


class FakeReporter(Reporter):
    """Keeps what it is told to write."""

    def __init__(self) -> None:
        self.written: list[tuple[bool, Applied, Applied, list[StepReport]]] = []

    def write(self, healthy, seen, applied, steps) -> None:  # type: ignore[no-untyped-def]
        self.written.append((healthy, seen, applied, list(steps)))

    @property
    def states(self) -> dict[str, str]:
        return {step.name: step.state for step in self.written[-1][3]}


class Fakes:
    """Steps that note that they ran; those in `failing` fail."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.failing: dict[str, Exception] = {}

    def step(self, name: str, of_release: bool) -> Step:
        def ensure(this: Round) -> None:
            self.ran.append(name)
            if of_release:
                this.wanted_release()
            if name == "users":
                this.wanted_users()
            if name in self.failing:
                raise self.failing[name]

        return Step(name, ensure, of_release)


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Fakes:
    made = Fakes()
    kinds = [("folders", False), ("users", False), ("one", True), ("two", True), ("last", False)]
    monkeypatch.setattr(rounds, "STEPS", tuple(made.step(name, kind) for name, kind in kinds))
    return made


def desired(**more: object) -> Round:
    documents = {
        "users": users_document(generation=3, ada=user()),
        "release": release(generation=5),
    }
    return a_round(**{**documents, **more})


def test_every_step_runs_in_order_and_then_all_of_it_holds(fakes: Fakes) -> None:
    reporter = FakeReporter()
    applied, healthy = converge(desired(), reporter, Applied())
    assert fakes.ran == ["folders", "users", "one", "two", "last"]
    assert healthy
    assert applied == Applied(release=5, users=3)
    last_healthy, seen, last_applied, steps = reporter.written[-1]
    assert last_healthy
    assert seen == last_applied == applied
    assert [step.state for step in steps] == ["done"] * 5


def test_a_failing_step_of_the_release_ends_the_releases_steps_only(fakes: Fakes) -> None:
    fakes.failing["one"] = StepError("it is broken", "the tail\n")
    reporter = FakeReporter()
    applied, healthy = converge(desired(), reporter, Applied(release=4, users=2))
    assert fakes.ran == ["folders", "users", "one", "last"]
    assert not healthy
    assert applied == Applied(release=4, users=3)
    _, seen, _, steps = reporter.written[-1]
    assert seen.release == 5
    failed = next(step for step in steps if step.state == "failed")
    assert (failed.name, failed.problem, failed.output) == ("one", "it is broken", "the tail\n")


def test_a_failing_step_of_nobodys_release_does_not_stop_the_release(fakes: Fakes) -> None:
    fakes.failing["users"] = StepError("no")
    reporter = FakeReporter()
    applied, healthy = converge(desired(), reporter, Applied(release=4, users=2))
    assert not healthy
    assert applied == Applied(release=5, users=2)
    assert reporter.states["users"] == "failed"
    assert reporter.states["two"] == "done"


@pytest.mark.parametrize("at", ["one", "two"])
def test_a_release_is_applied_only_when_all_of_its_steps_hold(fakes: Fakes, at: str) -> None:
    fakes.failing[at] = StepError("no")
    assert converge(desired(), FakeReporter(), Applied())[0].release == 0
    del fakes.failing[at]
    assert converge(desired(), FakeReporter(), Applied())[0].release == 5


def test_a_failed_release_falls_back_at_once_and_a_good_one_does_not(
    fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "fall_back", lambda _: fakes.ran.append("fall back"))
    converge(desired(), FakeReporter(), Applied())
    assert "fall back" not in fakes.ran
    fakes.ran.clear()
    fakes.failing["one"] = StepError("no")
    converge(desired(), FakeReporter(), Applied())
    assert fakes.ran == ["folders", "users", "one", "fall back", "last"]


def test_a_damaged_release_keeps_users_coming_and_going(fakes: Fakes) -> None:
    reporter = FakeReporter()
    applied, healthy = converge(desired(release=DAMAGED), reporter, Applied(release=4, users=2))
    assert not healthy
    assert applied == Applied(release=4, users=3)
    failed = next(step for step in reporter.written[-1][3] if step.state == "failed")
    assert (failed.name, failed.problem) == ("one", "It is damaged.")
    assert "two" not in fakes.ran


def test_damaged_users_do_not_keep_a_release_from_being_taken_up(fakes: Fakes) -> None:
    applied, healthy = converge(desired(users=DAMAGED), FakeReporter(), Applied(users=2))
    assert not healthy
    assert applied == Applied(release=5, users=2)
    assert "last" in fakes.ran


def test_users_are_reported_before_the_release_is_begun(fakes: Fakes) -> None:
    """Who waits for a rotation need not wait for an installation."""
    reporter = FakeReporter()
    converge(desired(), reporter, Applied())
    first = next(at for at, row in enumerate(reporter.written) if row[2].users == 3)
    assert "one" not in [step.name for step in reporter.written[first][3]]
    assert fakes.ran


def test_a_step_at_work_is_reported_while_a_release_is_taken_up(fakes: Fakes) -> None:
    reporter = FakeReporter()
    converge(desired(), reporter, Applied())
    running = [step.name for row in reporter.written for step in row[3] if step.state == "running"]
    assert running == ["one", "two"]
    assert fakes.ran


def test_a_round_without_news_writes_one_report(fakes: Fakes) -> None:
    reporter = FakeReporter()
    converge(desired(), reporter, Applied(release=5, users=3))
    assert len(reporter.written) == 1
    assert fakes.ran


SURPRISES = [
    (OSError(28, "No space left on device", "data/x"), "No space left on device: data/x"),
    (OSError(28, "No space left on device"), "No space left on device: no file named"),
    (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"),
]


@pytest.mark.parametrize(("error", "problem"), SURPRISES, ids=lambda row: type(row).__name__)
def test_whatever_a_step_runs_into_is_reported(
    fakes: Fakes, error: Exception, problem: str
) -> None:
    fakes.failing["one"] = error
    reporter = FakeReporter()
    converge(desired(), reporter, Applied())
    failed = next(step for step in reporter.written[-1][3] if step.state == "failed")
    assert failed.problem == problem


def test_a_cleanup_is_reported_when_it_was_carried_out(fakes: Fakes) -> None:
    folders.CLEANED.write_text("7")
    reporter = FakeReporter()
    applied, _ = converge(desired(cleanup=cleanup(generation=7)), reporter, Applied())
    assert applied.cleanup == reporter.written[-1][1].cleanup == 7
    assert fakes.ran


def test_the_real_steps_have_names_of_their_own() -> None:
    assert len({step.name for step in rounds.STEPS}) == len(rounds.STEPS)
    of_release = {step.name for step in rounds.STEPS if step.of_release}
    assert not of_release & {"folders", "users", "audited", "cleaned"}


def taken_up(made: Release, live: bool) -> None:
    ensure_files(a_round(release=made))
    place_service(made, made.mlflow)
    if live:
        link(folders.LIVE, folders.RELEASES / made.id)


def test_falling_back_leaves_only_the_services_of_the_release_that_serves() -> None:
    good, bad, machine = release(plan(workers=1)), release(plan(workers=2)), FakeMachine()
    taken_up(good, live=True)
    taken_up(bad, live=False)
    fall_back(a_round(release=bad, machine=machine))
    assert machine.told == [f"stop {bad.mlflow}"]
    assert {file.stem for file in folders.SERVICES.iterdir()} == {good.mlflow}


def test_without_a_release_that_serves_there_is_nothing_to_fall_back_to() -> None:
    bad, machine = release(), FakeMachine()
    taken_up(bad, live=False)
    fall_back(a_round(release=bad, machine=machine))
    assert machine.told == []
    assert (folders.SERVICES / f"{bad.mlflow}.conf").is_file()


@pytest.mark.parametrize("error", [StepError("no"), PermissionError(13, "no")])
def test_a_fall_back_that_fails_does_not_end_the_agent(error: Exception) -> None:
    good, bad, machine = release(plan(workers=1)), release(plan(workers=2)), FakeMachine()
    taken_up(good, live=True)
    taken_up(bad, live=False)

    def refuse(_: str) -> None:
        raise error

    machine.on_stop = refuse
    fall_back(a_round(release=bad, machine=machine))
    assert machine.told == []


def test_what_is_desired_is_read_with_the_tags_to_wait_on(store: DirectoryStore) -> None:
    tag = store.put(Users.KEY, users_document(ada=user()).to_bytes(), expect=None)
    desired = DesiredState(store)
    this = desired.read(FakeMachine())
    assert isinstance(this.users, Users)
    assert this.release is None
    assert {key for key, known in desired.tags.items() if known} == {Users.KEY}
    assert desired.tags[Users.KEY] == tag
    assert Release.KEY in desired.tags


def test_a_document_that_cannot_be_read_is_kept_as_its_error_with_its_tag(
    store: DirectoryStore,
) -> None:
    tag = store.put(Release.KEY, b"{", expect=None)
    desired = DesiredState(store)
    assert isinstance(desired.read(FakeMachine()).release, TrackstackError)
    assert desired.tags[Release.KEY] == tag


def test_while_the_store_is_away_what_was_desired_last_goes_on(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(Users.KEY, users_document(ada=user()).to_bytes(), expect=None)
    desired = DesiredState(store)
    known = desired.read(FakeMachine()).users

    def away(*_: object, **__: object) -> None:
        raise TrackstackError("The bucket does not answer.")

    with monkeypatch.context() as gone:
        gone.setattr(store, "get", away)
        gone.setattr(store, "wait_for_change", away)
        gone.setattr("time.sleep", lambda _: None)
        desired.wait(1)
        assert desired.read(FakeMachine()).users == known
    later = users_document(generation=2, grace=user())
    store.put(Users.KEY, later.to_bytes(), expect=desired.tags[Users.KEY])
    assert desired.read(FakeMachine()).users == later


@pytest.mark.parametrize(
    ("problem", "told"), [(AwayError("Nobody answers."), True), (TrackstackError("Denied."), False)]
)
def test_nginx_is_told_of_a_store_that_does_not_answer_until_it_does(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch, problem: TrackstackError, told: bool
) -> None:
    folders.RUN.mkdir(parents=True, exist_ok=True)
    desired = DesiredState(store)

    def away(*_: object, **__: object) -> None:
        raise problem

    with monkeypatch.context() as gone:
        gone.setattr(store, "get", away)
        desired.read(FakeMachine())
        assert folders.BUCKET_AWAY.exists() is told
    desired.read(FakeMachine())
    assert not folders.BUCKET_AWAY.exists()


def test_a_disk_without_room_for_an_audit_entry_keeps_nobody_out_and_is_told(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders.USERS.mkdir(parents=True, exist_ok=True)
    store.put(Users.KEY, users_document(ada=user()).to_bytes(), expect=None)

    def full(*_: object, **__: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "put", full)
    this = DesiredState(store).read(FakeMachine())
    reporter = FakeReporter()
    converge(this, reporter, Applied())
    assert (folders.USERS / "ada" / "current").is_file()
    assert (reporter.states["users"], reporter.states["audited"]) == ("done", "failed")


HOUR = timedelta(hours=1)


def pause(failures: int, *expiries: timedelta | None) -> float:
    """The pause after a round that began a second ago, with users who expire relative to now."""
    now = datetime.now(UTC)
    people = {
        f"u{at}": user(expires=None if each is None else now + each)
        for at, each in enumerate(expiries)
    }
    this = a_round(users=users_document(**people), now=now - timedelta(seconds=1))
    return rounds._pause(this, failures, 30.0, looked_at=False)


def test_a_sound_machine_sleeps_until_its_next_heartbeat_and_a_sick_one_tries_sooner() -> None:
    assert pause(0) == pause(0, None, HOUR) > pause(1) > 0
    assert rounds._pause(a_round(users=DAMAGED), 0, 30.0, looked_at=False) == pause(0)


def test_what_fails_again_and_again_is_tried_less_and_less_often_up_to_a_minute() -> None:
    pauses = [pause(failures) for failures in (1, 2, 3, 4, 5, 1000)]
    assert pauses == [5, 10, 20, 40, 60, 60]


def test_the_next_expiry_ends_the_sleep() -> None:
    assert 1 < pause(0, HOUR, timedelta(seconds=3), None) <= 3


def test_an_expiry_that_passed_during_the_round_starts_the_next_at_once() -> None:
    assert 0 < pause(0, timedelta(milliseconds=-500)) < 0.1


def test_an_expiry_that_the_round_has_seen_is_not_waited_for_again() -> None:
    assert pause(0, -HOUR) == pause(0)


def test_a_round_follows_each_change_and_then_the_expiry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DirectoryStore(tmp_path / "control")
    entered: list[set[str]] = []

    def look(_: Round) -> None:
        entered.append({file.parent.name for file in folders.USERS.glob("*/current")})
        if len(entered) == 1:
            soon = datetime.now(UTC) + timedelta(seconds=1.5)
            people = users_document(ada=user(), bob=user(expires=soon))
            other = DirectoryStore(tmp_path / "control")
            writer = threading.Thread(target=other.put, args=(Users.KEY, people.to_bytes(), None))
            writer.start()
            writer.join()
        if entered[-1] == {"ada"}:
            raise SystemExit  # not an Exception, so no step catches it

    steps = (Step("users", ensure_users, of_release=False), Step("look", look, of_release=False))
    monkeypatch.setattr(rounds, "STEPS", steps)
    with pytest.raises(SystemExit):
        run_forever(store, FakeMachine(), FakeReporter())
    assert entered == [set(), {"ada", "bob"}, {"ada"}]


def reported(store: DirectoryStore) -> Observed:
    report, _ = read(store, Observed, observed_key("m"))
    assert report is not None
    return report


def write(reporter: Reporter, **applied: int) -> None:
    reporter.write(True, Applied(), Applied(**applied), [])


def test_each_report_replaces_the_one_before_under_a_growing_generation(
    store: DirectoryStore,
) -> None:
    reporter = Reporter(store, "m")
    write(reporter, users=1)
    write(reporter, users=2)
    report = reported(store)
    assert report.applied == Applied(users=2)
    assert report.generation == 2
    assert report.machine == "m"
    assert datetime.now(UTC) - report.heartbeat < HOUR


@pytest.mark.parametrize("left", [b"{", b"of the agent before this one"])
def test_a_report_goes_over_whatever_is_there(store: DirectoryStore, left: bytes) -> None:
    store.put(observed_key("m"), left, expect=None)
    write(Reporter(store, "m"), users=1)
    assert reported(store).applied.users == 1


def test_a_report_that_loses_a_race_is_written_again(store: DirectoryStore) -> None:
    reporter = Reporter(store, "m")
    write(reporter, users=1)
    stored = store.get(observed_key("m"))
    assert stored is not None
    store.put(observed_key("m"), b"somebody else's", expect=stored.tag)
    write(reporter, users=2)
    assert reported(store).applied.users == 2


def test_a_report_whose_file_is_gone_is_written_again(
    store: DirectoryStore, tmp_path: Path
) -> None:
    reporter = Reporter(store, "m")
    write(reporter, users=1)
    (tmp_path / "control" / observed_key("m")).unlink()
    write(reporter, users=2)
    assert reported(store).applied.users == 2


class BrokenStore:
    """A store on a disk that is full."""

    def get(self, key: str) -> Stored | None:
        raise ConflictError(key)

    def put(self, *_: object, **__: object) -> str:
        raise OSError(28, "No space left on device")

    def wait_for_change(self, *_: object) -> bool:
        return False


def test_a_report_that_cannot_be_written_does_not_end_the_agent() -> None:
    write(Reporter(BrokenStore(), "m"))


def test_a_report_names_the_release_that_serves_and_its_mlflow(store: DirectoryStore) -> None:
    made = release()
    write(Reporter(store, "m"))
    assert reported(store).release_id is None
    taken_up(made, live=True)
    write(Reporter(store, "other"))
    report, _ = read(store, Observed, observed_key("other"))
    assert report is not None
    assert report.release_id == made.id
    assert report.versions["mlflow"] == "3.17.2"


def test_a_machine_without_nginx_reports_no_version_of_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _nginx_version.__wrapped__() == {}
