"""Control stores of all kinds: a folder, moto's S3, fake-gcs-server, each behind its front."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from opened import KINDS, OWNER, Bucket, Opened

from buckets import BUCKET, running_gcs, running_s3
from fronts import conditional_reads, knowing, owned_by, running_front


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """moto's bucket; its keys are those of somebody who may do all."""
    with running_s3(tmp_path_factory.mktemp("s3")) as moto:
        made = Bucket("", {**moto.keys[0], "AWS_EC2_METADATA_DISABLED": "true"})
        with running_front(moto.url, [made.trouble, owned_by(OWNER)], made.recorded) as url:
            yield made.at(url, AWS_ENDPOINT_URL=url)


@pytest.fixture(scope="session")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """fake-gcs-server's bucket, which lets everybody in."""
    with running_gcs(tmp_path_factory.mktemp("gcs")) as double:
        made = Bucket("", {})
        rules = [made.trouble, knowing(BUCKET), conditional_reads]
        with running_front(double.url, rules, made.recorded) as url:
            yield made.at(url, STORAGE_EMULATOR_HOST=url)


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this shell's settings for clouds reaches a store."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "GOOGLE_", "STORAGE_", "CLOUDSDK_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Google's client tries for half a second, where it would for many."""
    from trackstack.control import gcs  # noqa: PLC0415  its import warns

    monkeypatch.setattr(gcs, "_RETRY", gcs._RETRY.with_timeout(0.5))


@pytest.fixture(params=KINDS)
def opened(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Opened:
    """A store of each kind, empty, as often as it is asked for."""
    return _opened(request, request.param, tmp_path, monkeypatch)


@pytest.fixture(params=KINDS[1:])
def in_bucket(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Opened:
    """Of the kinds in buckets."""
    return _opened(request, request.param, tmp_path, monkeypatch)


def _opened(
    request: pytest.FixtureRequest, kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Opened:
    addresses: dict[str, Callable[[], str]] = {
        "folder": lambda: str(folder / "control"),
        "s3": lambda: f"s3://{BUCKET}?region=us-east-1&owner={OWNER}",
        "gcs": lambda: f"gs://{BUCKET}",
    }
    if kind == "folder":
        return Opened(kind, addresses[kind](), Bucket("", {}))
    bucket: Bucket = request.getfixturevalue(kind)
    for name, value in bucket.variables.items():
        monkeypatch.setenv(name, value)
    bucket.forget()
    request.addfinalizer(bucket.forget)
    made = Opened(kind, addresses[kind](), bucket)
    request.addfinalizer(made.close)
    return made
