"""Doubles of two clouds' buckets: moto's S3, which checks keys, and fake-gcs-server."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from kits import eventually, free_port, made_once

GCS_VERSION = "v1.56.1"
BUCKET = "artifacts"
PEOPLE = ("first", "second")
_STATEMENT = {"Effect": "Allow", "Action": "*", "Resource": "*"}
_POLICY = {
    "PolicyName": "everything",
    "PolicyDocument": json.dumps({"Version": "2012-10-17", "Statement": [_STATEMENT]}),
}


@dataclass(frozen=True)
class S3:
    """moto, which from now on refuses whom it does not know.

    Attributes:
        keys: of two people who may use its buckets: variables of a shell.
    """

    url: str
    keys: tuple[dict[str, str], dict[str, str]]

    def client(self, service: str, keys: dict[str, str]) -> Any:
        """Amazon's own client of the double."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        )

    def names(self) -> list[str]:
        """What lies in the bucket."""
        listed = self.client("s3", self.keys[0]).list_objects_v2(Bucket=BUCKET)
        return [each["Key"] for each in listed.get("Contents", [])]

    @contextmanager
    def without_the_first(self) -> Iterator[None]:
        """Meanwhile the first of the two may do nothing."""
        iam = self.client("iam", self.keys[1])
        iam.delete_user_policy(UserName=PEOPLE[0], PolicyName=_POLICY["PolicyName"])
        try:
            yield
        finally:
            iam.put_user_policy(UserName=PEOPLE[0], **_POLICY)


@contextmanager
def running_s3(folder: Path) -> Iterator[S3]:
    """moto with a bucket and two people who may use it."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with _running(command, f"{url}/moto-api/data.json", folder / "moto.txt"):
        nobody = {"AWS_ACCESS_KEY_ID": "setup", "AWS_SECRET_ACCESS_KEY": "setup"}
        made = S3(url, ({}, {}))
        iam = made.client("iam", nobody)
        made.client("s3", nobody).create_bucket(Bucket=BUCKET)
        for name, keys in zip(PEOPLE, made.keys, strict=True):
            iam.create_user(UserName=name)
            iam.put_user_policy(UserName=name, **_POLICY)
            key = iam.create_access_key(UserName=name)["AccessKey"]
            keys["AWS_ACCESS_KEY_ID"] = key["AccessKeyId"]
            keys["AWS_SECRET_ACCESS_KEY"] = key["SecretAccessKey"]
        httpx.post(f"{url}/moto-api/reset-auth", content=b"0", trust_env=False).raise_for_status()
        yield made


@dataclass(frozen=True)
class Gcs:
    """fake-gcs-server, which lets everybody in."""

    url: str

    def names(self) -> list[str]:
        """What lies in the bucket."""
        listed = httpx.get(f"{self.url}/storage/v1/b/{BUCKET}/o", trust_env=False).json()
        return [each["name"] for each in listed.get("items", [])]


@contextmanager
def running_gcs(folder: Path) -> Iterator[Gcs]:
    """fake-gcs-server with a bucket; the test is skipped where it cannot be built."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    flags = ("-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory")
    # It takes a minute or two.
    program = made_once(f"fake-gcs-server-{GCS_VERSION}", _make_gcs) / "fake-gcs-server"
    command = [str(program), *flags, "-external-url", url]
    with _running(command, f"{url}/_internal/healthcheck", folder / "gcs.txt"):
        asked = httpx.post(f"{url}/storage/v1/b", json={"name": BUCKET}, trust_env=False)
        asked.raise_for_status()
        yield Gcs(url)


@contextmanager
def _running(command: list[str], health: str, output: Path) -> Iterator[None]:
    with output.open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        assert eventually(lambda: _answers(health)), f"{command}:\n{output.read_text()}"
        yield
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _make_gcs(folder: Path) -> None:
    go = shutil.which("go")
    if go is None:
        pytest.skip("fake-gcs-server is built with Go, which is not installed")
    built = subprocess.run(
        [go, "install", f"github.com/fsouza/fake-gcs-server@{GCS_VERSION}"],
        env={**os.environ, "GOBIN": str(folder), "GOTOOLCHAIN": "local"},
        capture_output=True,
        text=True,
        check=False,
    )
    if "requires go >=" in built.stderr:
        pytest.skip(f"this Go is too old for fake-gcs-server: {built.stderr}")
    assert built.returncode == 0, f"fake-gcs-server cannot be built:\n{built.stderr}"
