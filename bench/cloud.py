"""What the kit adds to a cloud's own tools, on the doubles of an AWS account."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Sample
from engine.world.aws import AwsWorld, Laptop, aws_world
from trackstack.environment import Record

MOST_USER_DATA = 8192
_REQUEST = """
import boto3, sys
key = "environments/team/record.json"
boto3.client("s3").get_object(Bucket=sys.argv[1], Key=key)["Body"].read()
"""


def rounds_in_a_cloud(folder: Path, rounds: int) -> Iterator[Sample]:
    """Deploy once, then measure what changes nothing beside what it is made of."""
    with aws_world(folder / "aws") as world:
        laptop = world.laptop(folder / "home")
        allow = f"{world.network.laptop}/32"
        laptop.run("deploy", "aws", "-e", "team", "--allow", allow, "--yes", timeout=600)
        bucket = f"trackstack-state-{world.cloud.account}-{world.cloud.region}"
        kept = world.client("s3").get_object(Bucket=bucket, Key="environments/team/record.json")
        record = Record.model_validate_json(kept["Body"].read())
        bare = _bare_told(world, folder, bucket, record)
        if record.plan.cloud is None:
            sys.exit("the record is of no cloud")
        yield Sample("user-data", len(record.plan.cloud.user_data.encode()), float(MOST_USER_DATA))
        for _ in range(rounds):
            ours = _run([*laptop.command, "deploy", "aws", "-e", "team", "--yes"], laptop)
            theirs = _run([sys.executable, "-m", "bench.bare"], laptop, bare)
            yield Sample("no-op", ours.seconds, theirs.seconds)
            yield Sample("peak", ours.megabytes, theirs.megabytes)
            help_ = _run([*laptop.command, "--help"], laptop).seconds
            request = _run([sys.executable, "-c", _REQUEST, bucket], laptop).seconds
            status = _run([*laptop.command, "status", "-e", "team"], laptop).seconds
            yield Sample("status", status * 1000, (2 * help_ + request) * 1000)


def _bare_told(world: AwsWorld, folder: Path, bucket: str, record: Record) -> str:
    key = world.client("ssm").get_parameter(Name="/trackstack/team/key", WithDecryption=True)
    (folder / "work").mkdir()
    return json.dumps(
        {
            "stack": "team",
            "state": f"s3://{bucket}?region={world.cloud.region}&awssdk=v2",
            "home": str(folder / "engine"),
            "work": str(folder / "work"),
            "key": key["Parameter"]["Value"],
            "plan": record.plan.cloud.model_dump(mode="json") if record.plan.cloud else None,
        }
    )


@dataclass(frozen=True)
class _Cost:
    """What a command took: of memory, its largest process, most often itself or the engine."""

    seconds: float
    megabytes: float


def _run(command: list[str], laptop: Laptop, said: str = "") -> _Cost:
    variables = {**laptop.environment, "PYTHONPATH": ".", "AWS_DEFAULT_REGION": "eu-central-1"}
    with tempfile.TemporaryFile("w+") as told, tempfile.TemporaryFile("w+") as asked:
        asked.write(said)
        asked.seek(0)
        started = time.monotonic()
        with subprocess.Popen(
            command, stdin=asked, stdout=told, stderr=told, env=variables
        ) as process:
            _, status, used = os.wait4(process.pid, 0)
            took = time.monotonic() - started
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            told.seek(0)
            sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{told.read()}")
    return _Cost(took, used.ru_maxrss / 1024)
