"""Artifacts in a bucket: the client knows nothing of it, and what does not open is told first."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from alone import Alone, a_server
from servers import OWNER

from buckets import BUCKET, S3, Gcs, running_gcs, running_s3
from kits import free_port
from trackstack.lock import GCS_CLIENT, S3_CLIENT

MEGABYTES = 20
"""Sent to S3 in parts, as everything above 8 MB is."""


@dataclass(frozen=True)
class InS3(Alone):
    """A server whose artifacts are in moto's S3."""

    s3: S3

    def try_other(self, bucket: str, endpoint: str, keys: dict[str, str]) -> tuple[int, str]:
        """Deploy another environment, which must fail; returns exit code and sentence."""
        done = self.run(
            *("deploy", "local", "-e", "other", "--port", str(free_port())),
            *("--artifacts", bucket, "--artifacts-endpoint", endpoint),
            ok=False,
            **keys,
        )
        return done.returncode, done.stderr.partition("error: ")[2].splitlines()[0]


@dataclass(frozen=True)
class InGcs(Alone):
    """A server whose artifacts are in fake-gcs-server."""

    gcs: Gcs


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InS3]:
    with (
        running_s3(tmp_path_factory.mktemp("moto")) as s3,
        a_server(tmp_path_factory.mktemp("s3"), InS3, s3, extra=[S3_CLIENT]) as made,
    ):
        assert isinstance(made, InS3)
        made.up("--artifacts", f"s3://{BUCKET}/team", "--artifacts-endpoint", s3.url, **s3.keys[0])
        yield made


@pytest.fixture(scope="module")
def in_gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InGcs]:
    with (
        running_gcs(tmp_path_factory.mktemp("fake-gcs")) as gcs,
        a_server(tmp_path_factory.mktemp("gcs"), InGcs, gcs, extra=[GCS_CLIENT]) as made,
    ):
        assert isinstance(made, InGcs)
        made.up("--artifacts", f"gs://{BUCKET}/team", "--artifacts-endpoint", gcs.url)
        yield made


def test_an_artifact_goes_to_s3_and_back_through_a_client_without_credentials(
    server: InS3, tmp_path: Path
) -> None:
    told = server.round_trip(tmp_path / "client", MEGABYTES)
    assert told["received"] == told["sent"]
    address = told["address"].removeprefix("mlflow-artifacts:/")
    assert [name for name in server.s3.names() if told["run"] in name] == [
        f"team/{address}/folder/sent.bin"
    ]
    assert told["address"].startswith("mlflow-artifacts:/")
    assert (told["cloud"], told["user"]) == ([], OWNER)
    assert not any((server.data / "artifacts").iterdir())


def test_an_artifact_goes_to_google_and_back_through_a_client_without_credentials(
    in_gcs: InGcs, tmp_path: Path
) -> None:
    told = in_gcs.round_trip(tmp_path / "client", MEGABYTES)
    assert told["received"] == told["sent"]
    assert len([name for name in in_gcs.gcs.names() if told["run"] in name]) == 1
    assert told["cloud"] == []
    assert not any((in_gcs.data / "artifacts").iterdir())


@pytest.mark.parametrize("kind", ["s3", "gcs"])
def test_an_artifact_that_is_not_there_is_a_404(kind: str, request: pytest.FixtureRequest) -> None:
    """MLflow's own 500 has its client ask again for two minutes, at each load of a run's model."""
    server: Alone = request.getfixturevalue({"s3": "server", "gcs": "in_gcs"}[kind])
    with server.api(OWNER, server.owner_password()) as api:
        path = "api/2.0/mlflow-artifacts/artifacts/1/nothing/artifacts/model"
        answer = api.get(f"{server.url}/{path}")
    assert (answer.status_code, answer.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")


def test_the_deploy_proved_it_and_left_nothing_in_the_bucket(server: InS3) -> None:
    checks = server.proven()
    assert [check["held"] for check in checks] == [True] * len(checks)
    assert any("an artifact of" in check["tried"] for check in checks)
    assert not [name for name in server.s3.names() if not name.endswith("folder/sent.bin")]


def test_a_profile_that_is_named_takes_the_place_of_keys_and_stays(
    server: InS3, tmp_path: Path
) -> None:
    s3, file = server.s3, server.account / "home" / ".aws" / "credentials"
    file.parent.mkdir()
    lines = [f"{name.lower()} = {value}" for name, value in s3.keys[1].items()]
    file.write_text("\n".join(["[team]", *lines, ""]))
    unnamed = server.json("plan", "local")
    server.up(AWS_PROFILE="team")
    with s3.without_the_first():
        told = server.round_trip(tmp_path / "client", 1)
    later = server.json("plan", "local")
    assert told["received"] == told["sent"]
    assert isinstance(unnamed, dict)
    assert isinstance(later, dict)
    assert (unnamed["changes"], later["changes"]) == ([], [])


def test_who_may_not_write_to_the_bucket_is_refused_before_anything_changes(server: InS3) -> None:
    with server.s3.without_the_first():
        code, sentence = server.try_other(f"s3://{BUCKET}", server.s3.url, server.s3.keys[0])
    assert (code, "not authorized" in sentence or "Access Denied" in sentence) == (1, True), (
        sentence
    )


UNKNOWN = {"AWS_ACCESS_KEY_ID": "AKIAUNKNOWN", "AWS_SECRET_ACCESS_KEY": "wrong"}
REFUSALS = ["missing bucket", "unknown key", "wrong key", "no answer"]


@pytest.mark.parametrize("case", REFUSALS)
def test_a_bucket_that_does_not_open_is_told_before_anything_changes(
    server: InS3, case: str
) -> None:
    right, there = server.s3.keys[0], server.s3.url
    bucket, endpoint, keys, reason = {
        "missing bucket": ("s3://missing", there, right, "bucket does not exist"),
        "unknown key": (f"s3://{BUCKET}", there, UNKNOWN, "does not exist in our records"),
        "wrong key": (
            f"s3://{BUCKET}",
            there,
            {**right, "AWS_SECRET_ACCESS_KEY": "wrong"},
            "signature",
        ),
        "no answer": (
            f"s3://{BUCKET}",
            f"http://127.0.0.1:{free_port()}",
            right,
            "Could not connect",
        ),
    }[case]
    before = set(server.home.rglob("*.json"))
    code, sentence = server.try_other(bucket, endpoint, keys)
    assert sentence.startswith("The bucket does not let MLflow in: ")
    assert reason in sentence
    assert (code, server.folder("other").exists()) == (1, False)
    assert set(server.home.rglob("*.json")) == before


def test_a_bucket_that_google_does_not_have_is_told_before_anything_changes(in_gcs: InGcs) -> None:
    done = in_gcs.run(
        *("deploy", "local", "-e", "other", "--port", str(free_port())),
        *("--artifacts", "gs://missing", "--artifacts-endpoint", in_gcs.gcs.url),
        ok=False,
    )
    assert "The bucket does not let MLflow in: " in done.stderr
    assert (done.returncode, in_gcs.folder("other").exists()) == (1, False)
