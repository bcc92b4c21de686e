"""What a bucket refuses, loses or is not there for ends in a sentence and a way out."""

import re
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from opened import OWNER, QUIET, Opened

from buckets import BUCKET
from fronts import (
    Answer,
    Next,
    Request,
    Rule,
    google_refusal,
    one_write_a_second,
    s3_refusal,
    without_listing,
)
from kits import free_port
from trackstack.control.base import ConflictError, Stored
from trackstack.control.bucket import BELL
from trackstack.errors import TrackstackError

pytestmark = QUIET

ONLY_S3 = pytest.mark.parametrize("in_bucket", ["s3"], indirect=True)
"""What Google's buckets do not have."""
ONLY_GCS = pytest.mark.parametrize("in_bucket", ["gcs"], indirect=True)
"""What S3's do not have."""


def refused(opened: Opened, status: int, code: str) -> Rule:
    """Every request is, as the cloud writes it."""
    answer = (s3_refusal if opened.kind == "s3" else google_refusal)(status, code)
    return lambda _, __: answer


def said_by(opened: Opened, action: str = "get") -> TrackstackError:
    store = opened()
    acts: dict[str, Any] = {
        "get": lambda: store.get(opened.key("a")),
        "put": lambda: store.put(opened.key("a"), b"x", expect=None),
        "list": lambda: store.list(opened.key("")),
        "modified": lambda: store.modified(opened.key("a")),
        "wait": lambda: store.wait_for_change({opened.key("a"): "1"}, 1),
    }
    with pytest.raises(TrackstackError) as error:
        acts[action]()
    assert error.value.sentence.endswith(".")
    assert error.value.hint
    return error.value


def test_a_wait_takes_the_clouds_word_that_nothing_changed(in_bucket: Opened) -> None:
    store, key = in_bucket(), in_bucket.key("a")
    seen = {key: store.put(key, b"one", expect=None)}
    assert not store.wait_for_change(seen, 0)
    in_bucket.bucket.recorded.clear()
    assert not store.wait_for_change(seen, 0)
    assert in_bucket.bucket.statuses("GET") == [304]
    ((request, _),) = in_bucket.bucket.recorded
    assert "bell" in request.target


def test_the_first_look_of_a_wait_is_conditional_too(in_bucket: Opened) -> None:
    key = in_bucket.key("a")
    seen = {key: in_bucket().put(key, b"one", expect=None)}
    store = in_bucket()
    in_bucket.bucket.recorded.clear()
    assert not store.wait_for_change(seen, 0)
    assert sorted(in_bucket.bucket.statuses("GET")) == [200, 304]


def test_nothing_is_asked_that_a_machine_may_not(in_bucket: Opened) -> None:
    store, key = in_bucket(), in_bucket.key("a")
    assert store.get(key) is None
    store.put(key, b"one", expect=None)
    assert store.get(key)
    store.wait_for_change({key: None}, 0)
    asked = [request.path for request, _ in in_bucket.bucket.recorded]
    of_objects = [path for path in asked if in_bucket.prefix in path or "/o" in path]
    assert asked == of_objects or in_bucket.kind == "s3"
    assert len(asked) <= 7


def test_a_lost_race_is_the_clouds_word_too(in_bucket: Opened) -> None:
    in_bucket().put(in_bucket.key("a"), b"one", expect=None)
    in_bucket.bucket.recorded.clear()
    with pytest.raises(ConflictError):
        in_bucket().put(in_bucket.key("a"), b"two", expect=None)
    assert [answer.status for _, answer in in_bucket.bucket.recorded] == [412]


@ONLY_S3
def test_a_write_that_another_is_in_the_middle_of_is_a_lost_race(in_bucket: Opened) -> None:
    rule = refused(in_bucket, 409, "ConditionalRequestConflict")
    with in_bucket.bucket.troubled(rule), pytest.raises(ConflictError):
        in_bucket().put(in_bucket.key("a"), b"x", expect=None)


def losing_answers(lost: list[Request]) -> Rule:
    """The first write of anything but the bell is taken, and its answer is an error."""

    def rule(request: Request, pass_on: Next) -> Answer:
        answer = pass_on(request)
        if request.method in {"PUT", "POST"} and not lost and BELL.encode() not in request.body:
            lost.append(request)
            return Answer(503, {"Content-Type": "text/plain"}, b"try again")
        return answer

    return rule


def test_a_write_whose_answer_was_lost_is_no_lost_race(in_bucket: Opened) -> None:
    lost: list[Request] = []
    with in_bucket.bucket.troubled(losing_answers(lost)):
        tag = in_bucket().put(in_bucket.key("a"), b"mine", expect=None)
    assert lost
    assert 412 in [answer.status for _, answer in in_bucket.bucket.recorded]
    assert in_bucket().get(in_bucket.key("a")) == Stored(b"mine", tag)


ACTIONS = ["get", "put", "list", "modified", "wait"]


@pytest.mark.parametrize("action", ACTIONS)
def test_a_bucket_that_is_not_there_is_said_so_by_name(in_bucket: Opened, action: str) -> None:
    address = in_bucket.address.replace(BUCKET, "no-such-bucket")
    error = said_by(in_bucket.at(address), action)
    assert error.sentence == "There is no bucket no-such-bucket."
    assert "trackstack deploy" in str(error.hint)


@pytest.mark.parametrize("action", ACTIONS)
def test_what_is_not_permitted_is_said_with_the_bucket(in_bucket: Opened, action: str) -> None:
    rule = refused(in_bucket, 403, "AccessDenied")
    with in_bucket.bucket.troubled(rule):
        error = said_by(in_bucket, action)
    assert re.search(rf"not (permit|do that).* in the bucket {BUCKET}\b", error.sentence)


@ONLY_S3
def test_a_bucket_of_somebody_else_is_not_written_to(in_bucket: Opened) -> None:
    address = in_bucket.address.replace(OWNER, "999999999999")
    for action in ACTIONS:
        error = said_by(in_bucket.at(address), action)
        assert "account 999999999999's" in error.sentence
    statuses = {answer.status for _, answer in in_bucket.bucket.recorded}
    assert statuses == {403}


@ONLY_S3
def test_every_request_says_whose_the_bucket_has_to_be(in_bucket: Opened) -> None:
    store, key = in_bucket(), in_bucket.key("a")
    tag = store.put(key, b"one", expect=None)
    store.get(key)
    store.list(key)
    store.modified(key)
    store.wait_for_change({key: tag}, 0)
    owners = [each.headers["x-amz-expected-bucket-owner"] for each, _ in in_bucket.bucket.recorded]
    assert owners == [OWNER] * len(owners)
    assert len(owners) >= 7


@ONLY_S3
def test_a_missing_object_that_the_cloud_does_not_tell_of_is_a_refusal(in_bucket: Opened) -> None:
    with in_bucket.bucket.troubled(without_listing):
        error = said_by(in_bucket)
    assert "does not permit GetObject" in error.sentence


REFUSALS = [
    ("s3", 400, "ExpiredToken", "have expired"),
    ("s3", 403, "InvalidAccessKeyId", "does not know these credentials"),
    ("s3", 403, "SignatureDoesNotMatch", "does not know these credentials"),
    ("s3", 403, "RequestTimeTooSkewed", "clock"),
    ("s3", 400, "AuthorizationHeaderMalformed", "another region"),
    ("s3", 503, "SlowDown", "fewer requests"),
    ("s3", 500, "InternalError", "InternalError"),
    ("gcs", 503, "backendError", "could not do it"),
    ("gcs", 429, "rateLimitExceeded", "fewer requests"),
    ("gcs", 500, "backendError", "could not do it"),
]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("in_bucket", "answer", "sentence"),
    [(kind, (status, code), sentence) for kind, status, code, sentence in REFUSALS],
    indirect=["in_bucket"],
    ids=[code for _, _, code, _ in REFUSALS],
)
def test_a_refusal_gets_its_own_sentence(
    in_bucket: Opened, answer: tuple[int, str], sentence: str
) -> None:
    with in_bucket.bucket.troubled(refused(in_bucket, *answer)):
        assert sentence in said_by(in_bucket).sentence


@pytest.mark.usefixtures("impatient")
def test_a_bucket_that_cannot_be_reached_is_said_so(
    in_bucket: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    for name in ("AWS_ENDPOINT_URL", "STORAGE_EMULATOR_HOST"):
        monkeypatch.setenv(name, nowhere)
    error = said_by(in_bucket)
    assert re.search("cannot be reached|does not answer", error.sentence)
    assert "network" in str(error.hint)


@pytest.mark.usefixtures("impatient")
def test_a_bucket_that_never_answers_is_said_so_in_bounded_time(
    in_bucket: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trackstack.control import gcs, s3  # noqa: PLC0415  its import warns

    short = s3._CONFIG.merge(Config(connect_timeout=0.2, read_timeout=0.2))
    monkeypatch.setattr(s3, "_CONFIG", short)
    monkeypatch.setattr(gcs, "_TIMEOUT", (0.2, 0.2))
    given_up = threading.Event()

    def silent(request: Request, pass_on: Next) -> Answer:
        given_up.wait(30)
        return pass_on(request)

    started = time.monotonic()
    with in_bucket.bucket.troubled(silent):
        try:
            for action in ACTIONS:
                error = said_by(in_bucket, action)
                assert re.search("cannot be reached|does not answer", error.sentence), action
        finally:
            given_up.set()
    assert time.monotonic() - started < 25


def test_a_value_that_comes_damaged_is_not_taken(in_bucket: Opened) -> None:
    in_bucket().put(in_bucket.key("a"), b"mine", expect=None)

    def damaging(request: Request, pass_on: Next) -> Answer:
        answer = pass_on(request)
        return replace(answer, body=answer.body.replace(b"mine", b"mihe"))

    with in_bucket.bucket.troubled(damaging):
        said_by(in_bucket)


def test_the_age_of_a_value_is_by_the_clouds_clock_alone(in_bucket: Opened) -> None:
    store, key = in_bucket(), in_bucket.key("a")
    store.put(key, b"x", expect=None)
    written, _ = store.modified(key) or (None, None)

    def in_2031(request: Request, pass_on: Next) -> Answer:
        answer = pass_on(request)
        kept = {name: value for name, value in answer.headers.items() if name.lower() != "date"}
        return replace(answer, headers={**kept, "Date": "Sat, 01 Mar 2031 12:00:00 GMT"})

    with in_bucket.bucket.troubled(in_2031):
        assert store.modified(key) == (written, datetime(2031, 3, 1, 12, tzinfo=UTC))


@ONLY_GCS
def test_writes_faster_than_google_takes_them_get_through(in_bucket: Opened) -> None:
    store, key = in_bucket(), in_bucket.key("a")
    with in_bucket.bucket.troubled(one_write_a_second()):
        tag = store.put(key, b"one", expect=None)
        tag = store.put(key, b"two", expect=tag)
        with pytest.raises(ConflictError):
            in_bucket().put(key, b"three", expect=None)
    assert in_bucket().get(key) == Stored(b"two", tag)
    assert 429 in in_bucket.bucket.statuses("POST")


def test_who_has_no_credentials_is_told_how_to_sign_in(
    in_bucket: Opened, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TrackstackError) as error:
        in_bucket().get("a")
    assert "credentials" in error.value.sentence
    assert re.search("aws configure|gcloud auth", str(error.value.hint))
    assert error.value.exit_code == 4
