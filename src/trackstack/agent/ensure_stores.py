"""An outer database or bucket opens with the credentials given, before anything is switched.

MLflow itself would try a wrong password for minutes, and find a closed bucket at the first upload.
"""

import shlex
from pathlib import Path

from trackstack.agent import folders
from trackstack.agent.ensure_mlflow import mlflow_answers
from trackstack.agent.machine import StepError, run
from trackstack.agent.round import Round
from trackstack.desired import Release

_TRIES = {
    "postgresql": (
        "the database does not let MLflow in",
        "import sys, psycopg\n"
        "psycopg.connect(sys.argv[1].replace('+psycopg', '', 1), connect_timeout=5).close()\n",
    ),
    "s3": (
        "the bucket does not let MLflow in",
        "import os, sys, urllib.parse, boto3, botocore.config\n"
        "place = urllib.parse.urlsplit(sys.argv[1])\n"
        "config = botocore.config.Config(connect_timeout=5, retries={'max_attempts': 1})\n"
        "client = boto3.client('s3', endpoint_url=os.environ.get('MLFLOW_S3_ENDPOINT_URL'),\n"
        "                      config=config)\n"
        "key = place.path.strip('/') + '/.trackstack' if place.path.strip('/') else '.trackstack'\n"
        "client.put_object(Bucket=place.netloc, Key=key, Body=b'')\n"
        "client.delete_object(Bucket=place.netloc, Key=key)\n",
    ),
    "gs": (
        "the bucket does not let MLflow in",
        "import sys, urllib.parse, google.cloud.storage\n"
        "place = urllib.parse.urlsplit(sys.argv[1])\n"
        "bucket = google.cloud.storage.Client().bucket(place.netloc)\n"
        "blob = bucket.blob((place.path.strip('/') + '/.trackstack').lstrip('/'))\n"
        "blob.upload_from_string(b'', timeout=10, retry=None)\n"
        "blob.delete(timeout=10, retry=None)\n",
    ),
}
"""By kind of store: what to say, and a program that leaves the store as it was."""


def ensure_stores(this: Round) -> None:
    """Have the release's outer stores open; one that MLflow is using already is not asked."""
    release = this.wanted_release()
    if release is None or mlflow_answers(release):
        return
    given = settings(release)
    for address in (given["MLFLOW_BACKEND_STORE_URI"], given["MLFLOW_ARTIFACTS_DESTINATION"]):
        kind = address.partition(":")[0].partition("+")[0]
        if kind in _TRIES:
            problem, program = _TRIES[kind]
            _try(release, program, address, problem, given)


def _try(release: Release, program: str, address: str, problem: str, given: dict[str, str]) -> None:
    python = folders.PACKAGES / release.packages_id / "bin" / "python"
    try:
        run([str(python), "-P", "-c", program, address], problem, given)
    except StepError as error:
        # The last line says what; the trace before it says where in the driver.
        lines = error.output.strip().splitlines() or [""]
        raise StepError(f"{problem}: {lines[-1]}") from error


def settings(release: Release) -> dict[str, str]:
    """MLflow's environment variables, with the credentials of its stores."""
    files = {Path(file.path).name: file.content for file in release.files}
    given = parse(files[f"{release.mlflow}.env"])
    if folders.STORES.is_file():
        given |= parse(folders.STORES.read_text())
    return given


def parse(text: str) -> dict[str, str]:
    """The variables of a file that a shell would read: NAME=VALUE, quoted or not."""
    pairs = (word.partition("=") for word in shlex.split(text, comments=True))
    return {name: value for name, equals, value in pairs if equals}
