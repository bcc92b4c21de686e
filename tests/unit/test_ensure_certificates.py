"""The agent's certificates: made once, renewed in time, shown at once, and told to clients."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from trackstack.agent import ensure_certificates as step
from trackstack.agent import folders
from trackstack.agent.certificates import Pair, is_good, make_authority, make_leaf
from trackstack.agent.ensure_certificates import ensure_certificates
from trackstack.agent.ensure_release import ensure_folders
from trackstack.agent.machine import StepError
from trackstack.agent.round import Round
from trackstack.control.base import ConflictError, Stored
from trackstack.control.directory import DirectoryStore
from trackstack.desired import AUTHORITIES_KEY, Release
from unit.making import NOON, FakeMachine, a_round, plan, release

pytestmark = pytest.mark.usefixtures("machine_folder")

NAME, ADDRESS = "mlflow.example.com", "192.168.1.20"
DAY = timedelta(days=1)
FILES = ("ca.pem", "ca.key", "leaf.pem", "leaf.key")


def exposed(*hostnames: str) -> Release:
    return release(plan(listen=ADDRESS, hostnames=list(hostnames)))


def round_of(*hostnames: str, now: datetime = NOON, machine: FakeMachine | None = None) -> Round:
    return a_round(release=exposed(*hostnames), now=now, machine=machine or serving())


def serving() -> FakeMachine:
    return FakeMachine(up={"nginx"})


def kept(name: str = ADDRESS) -> dict[str, bytes]:
    return {file: (folders.TLS / name / file).read_bytes() for file in FILES}


def ends(name: str = ADDRESS) -> datetime:
    return x509.load_pem_x509_certificate(kept(name)["leaf.pem"]).not_valid_after_utc


def published() -> bytes | None:
    stored = DirectoryStore(Path("../control")).get(AUTHORITIES_KEY)
    return stored.data if stored else None


def test_every_name_gets_a_certificate_that_fits_its_own_authority() -> None:
    ensure_certificates(round_of(NAME))
    for name in (NAME, ADDRESS):
        files = kept(name)
        assert is_good(Pair(files["leaf.pem"], files["leaf.key"]), files["ca.pem"], NOON)
    assert kept(NAME)["ca.pem"] != kept(ADDRESS)["ca.pem"]


def test_keys_and_the_folders_they_lie_in_are_for_their_owner_only() -> None:
    ensure_certificates(round_of(NAME))
    for file in FILES:
        assert (folders.TLS / NAME / file).stat().st_mode & 0o077 == 0, file
    assert folders.TLS.stat().st_mode & 0o077 == 0


def test_a_round_without_news_makes_nothing_reloads_nothing_and_writes_nothing() -> None:
    ensure_certificates(round_of(NAME))
    before, tag = kept(), DirectoryStore(Path("../control")).get(AUTHORITIES_KEY)
    machine = serving()
    ensure_certificates(round_of(NAME, machine=machine))
    assert kept() == before
    assert machine.told == []
    assert DirectoryStore(Path("../control")).get(AUTHORITIES_KEY) == tag


RENEWALS = [(0, False), (59, False), (61, True), (89, True), (400, True)]


@pytest.mark.parametrize(("days", "renewed"), RENEWALS)
def test_a_certificate_is_renewed_30_days_before_its_end_and_its_authority_stays(
    days: int, renewed: bool
) -> None:
    ensure_certificates(round_of())
    before = kept()
    machine = serving()
    now = NOON + days * DAY
    ensure_certificates(round_of(now=now, machine=machine))
    after = kept()
    assert machine.told == (["reload nginx"] if renewed else [])
    assert (after["leaf.pem"] != before["leaf.pem"]) == renewed
    assert (after["leaf.key"] != before["leaf.key"]) == renewed
    assert (after["ca.pem"], after["ca.key"]) == (before["ca.pem"], before["ca.key"])
    assert ends() > now + 29 * DAY
    assert published() == before["ca.pem"]


def test_a_clock_that_was_set_back_makes_no_certificate_of_the_future() -> None:
    ensure_certificates(round_of())
    earlier = NOON - 30 * DAY
    ensure_certificates(round_of(now=earlier))
    leaf = x509.load_pem_x509_certificate(kept()["leaf.pem"])
    assert leaf.not_valid_before_utc <= earlier


@pytest.mark.parametrize("jump", [2, 40, 300])
def test_an_authority_made_with_the_clock_ahead_holds_once_it_is_set_back(jump: int) -> None:
    ensure_certificates(round_of(now=NOON + jump * DAY))
    before = kept()
    ensure_certificates(round_of())
    after = kept()
    assert after["ca.pem"] == before["ca.pem"], "clients that were handed it are locked out"
    for file in ("ca.pem", "leaf.pem"):
        certificate = x509.load_pem_x509_certificate(after[file])
        assert certificate.not_valid_before_utc <= NOON < certificate.not_valid_after_utc, file


WRONG_CLOCKS = [NOON - 20_000 * DAY, NOON - 366 * DAY, NOON + 3651 * DAY]


@pytest.mark.parametrize("now", WRONG_CLOCKS, ids=["1970s", "over a year behind", "far ahead"])
def test_a_clock_far_off_is_told_and_replaces_nothing(now: datetime) -> None:
    ensure_certificates(round_of())
    before = kept()
    with pytest.raises(StepError) as told:
        ensure_certificates(round_of(now=now))
    assert f"{now:%Y-%m-%d}" in told.value.problem
    assert "wrong clock" in told.value.problem
    assert kept() == before
    ensure_certificates(round_of())
    assert kept() == before


def test_all_names_renewed_in_one_round_cost_one_reload() -> None:
    ensure_certificates(round_of(NAME, "gpu1"))
    machine = serving()
    ensure_certificates(round_of(NAME, "gpu1", now=NOON + 70 * DAY, machine=machine))
    assert machine.told == ["reload nginx"]


class Killed(BaseException):
    """The agent's end at some line; no step catches it."""


@pytest.mark.parametrize("at", range(1, 5))
def test_a_kill_at_any_line_of_a_renewal_ends_in_one_reload_that_shows_a_whole_certificate(
    monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """1 to 3: before each of the files is written; 4: before nginx is told."""
    ensure_certificates(round_of())
    now = NOON + 70 * DAY
    write, writes = step.write_durably, 0

    def write_or_die(path: Path, data: bytes) -> None:
        nonlocal writes
        writes += 1
        if writes == at:
            raise Killed
        write(path, data)

    machine = serving()

    def die(_: str) -> None:
        raise Killed

    with monkeypatch.context() as killing:
        for place, name in ((step, "write_durably"), (folders, "write")):
            killing.setattr(place, name, write_or_die)
        if at == 4:
            killing.setattr(machine, "reload", die)
        with pytest.raises(Killed):
            ensure_certificates(round_of(now=now, machine=machine))
    assert machine.told == []
    for _ in range(2):
        ensure_certificates(round_of(now=now, machine=machine))
    assert machine.told == ["reload nginx"]
    files = kept()
    assert is_good(Pair(files["leaf.pem"], files["leaf.key"]), files["ca.pem"], now)


@pytest.mark.parametrize("at", range(1, 6))
def test_a_kill_at_any_line_of_the_first_round_leaves_nothing_that_stops_the_next(
    monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    write, writes = step.write_durably, 0

    def write_or_die(path: Path, data: bytes) -> None:
        nonlocal writes
        writes += 1
        if writes == at:
            raise Killed
        write(path, data)

    with monkeypatch.context() as killing:
        for place, name in ((step, "write_durably"), (folders, "write")):
            killing.setattr(place, name, write_or_die)
        with pytest.raises(Killed):
            ensure_certificates(round_of())
    ensure_folders(round_of())
    ensure_certificates(round_of())
    files = kept()
    assert is_good(Pair(files["leaf.pem"], files["leaf.key"]), files["ca.pem"], NOON)
    assert published() == files["ca.pem"]


def test_an_nginx_that_does_not_run_yet_is_not_told() -> None:
    machine = FakeMachine()
    ensure_certificates(round_of(machine=machine))
    machine.up.add("nginx")
    ensure_certificates(round_of(machine=machine))
    assert machine.told == []


@pytest.mark.parametrize("damage", [b"", b"garbage", None], ids=["empty", "garbage", "gone"])
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file_is_replaced_by_a_whole_certificate_and_nginx_is_told_once(
    file: str, damage: bytes | None
) -> None:
    ensure_certificates(round_of(NAME))
    before = kept()
    if damage is None:
        (folders.TLS / ADDRESS / file).unlink()
    else:
        (folders.TLS / ADDRESS / file).write_bytes(damage)
    untouched, machine = kept(NAME), serving()
    for _ in range(2):
        ensure_certificates(round_of(NAME, machine=machine))
    after = kept()
    assert is_good(Pair(after["leaf.pem"], after["leaf.key"]), after["ca.pem"], NOON)
    assert machine.told == ["reload nginx"]
    assert kept(NAME) == untouched
    # Clients go on trusting the authority while it can be read at all.
    assert (after["ca.pem"] == before["ca.pem"]) == file.startswith("leaf")
    assert published() == untouched["ca.pem"] + after["ca.pem"]


def test_clients_are_told_the_authorities_of_all_names_and_nothing_secret() -> None:
    ensure_certificates(round_of(NAME))
    assert published() == kept(NAME)["ca.pem"] + kept(ADDRESS)["ca.pem"]
    assert b"PRIVATE" not in (published() or b"")


def test_a_further_name_changes_nothing_of_the_first_and_is_told_beside_it() -> None:
    ensure_certificates(round_of())
    before = kept()
    ensure_certificates(round_of(NAME))
    assert kept() == before
    assert before["ca.pem"] in (published() or b"")
    assert kept(NAME)["ca.pem"] in (published() or b"")


def test_the_files_of_a_removed_name_stay_for_its_return_but_are_told_no_longer() -> None:
    ensure_certificates(round_of(NAME))
    before = kept(NAME)
    ensure_certificates(round_of())
    assert kept(NAME) == before
    assert published() == kept()["ca.pem"]
    ensure_certificates(round_of(NAME))
    assert kept(NAME) == before


def test_without_names_nothing_is_made_and_nothing_is_told() -> None:
    machine = serving()
    ensure_certificates(a_round(release=release(), machine=machine))
    ensure_certificates(a_round(release=None, machine=machine))
    assert list(folders.TLS.iterdir()) == []
    assert published() is None
    assert machine.told == []


def test_who_goes_back_to_this_computer_only_leaves_no_authority_to_trust() -> None:
    ensure_certificates(round_of())
    ensure_certificates(a_round(release=release()))
    assert published() == b""


def test_authorities_that_somebody_else_wrote_at_the_same_time_are_told_in_the_next_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    this = round_of()

    def lost(*_: object, **__: object) -> str:
        raise ConflictError(AUTHORITIES_KEY)

    with monkeypatch.context() as racing:
        racing.setattr(this.store, "put", lost)
        ensure_certificates(this)
    assert published() is None
    ensure_certificates(this)
    assert published() == kept()["ca.pem"]


def test_a_name_may_be_any_that_a_host_can_have() -> None:
    names = ["unshown", "data", "leaf.pem", "a" * 63 + ".example"]
    for _ in range(2):
        ensure_certificates(round_of(*names))
    assert (published() or b"").count(b"BEGIN CERTIFICATE") == len(names) + 1


def given_files(folder: Path, renewed: int = 0) -> Release:
    """A release that shows somebody's own certificate, and its files."""
    pair = make_leaf(make_authority(NAME, NOON), NAME, NOON + renewed * DAY)
    files = {"certificate": folder / "site.pem", "key": folder / "site.key"}
    files["certificate"].write_bytes(pair.certificate)
    files["key"].write_bytes(pair.key)
    named = {kind: str(file) for kind, file in files.items()}
    return release(plan(listen=ADDRESS, hostnames=[NAME], tls="files", **named))


def test_given_files_that_somebody_renewed_are_shown_in_the_next_round(tmp_path: Path) -> None:
    ensure_certificates(a_round(release=given_files(tmp_path)))
    renewed, machine = given_files(tmp_path, renewed=1), serving()
    for _ in range(2):
        ensure_certificates(a_round(release=renewed, machine=machine))
    assert machine.told == ["reload nginx"]
    assert published() is None


def test_given_files_of_which_only_one_is_renewed_yet_are_left_until_both_are(
    tmp_path: Path,
) -> None:
    machine = serving()
    wanted = given_files(tmp_path)
    ensure_certificates(a_round(release=wanted, machine=machine))
    key = (tmp_path / "site.key").read_bytes()
    given_files(tmp_path, renewed=1)
    new_key = (tmp_path / "site.key").read_bytes()
    (tmp_path / "site.key").write_bytes(key)
    machine.told.clear()
    with pytest.raises(StepError, match="do not belong together"):
        ensure_certificates(a_round(release=wanted, machine=machine))
    assert machine.told == []
    (tmp_path / "site.key").write_bytes(new_key)
    ensure_certificates(a_round(release=wanted, machine=machine))
    assert machine.told == ["reload nginx"]


def test_what_clients_get_is_looked_at_once_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    this, looks = round_of(), []
    look = DirectoryStore.get

    def counted(store: DirectoryStore, key: str) -> Stored | None:
        looks.append(key)
        return look(store, key)

    monkeypatch.setattr(DirectoryStore, "get", counted)
    hour = timedelta(hours=1)
    for after in (0, 0.02, 0.98, 1.02, 1.98, -3.0):
        ensure_certificates(replace(this, now=NOON + after * hour))
    # A put of a folder looks too: that of the first. The last: a clock that was set back.
    assert looks == [AUTHORITIES_KEY] * (1 + 1 + 1 + 1)


def test_what_clients_get_is_written_anew_within_an_hour_of_its_loss() -> None:
    this = round_of()
    ensure_certificates(this)
    Path("../control", AUTHORITIES_KEY).unlink()
    ensure_certificates(replace(this, now=NOON + timedelta(minutes=59)))
    assert published() is None
    ensure_certificates(replace(this, now=NOON + timedelta(minutes=61)))
    assert published() == kept()["ca.pem"]


def test_a_new_name_is_told_clients_at_once() -> None:
    this = round_of()
    ensure_certificates(this)
    ensure_certificates(replace(this, release=exposed(NAME)))
    assert kept(NAME)["ca.pem"] in (published() or b"")
