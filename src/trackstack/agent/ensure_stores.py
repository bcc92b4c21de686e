"""An outer database or bucket opens with the credentials given, before anything is switched.

MLflow itself would try a wrong password for minutes, and find a closed bucket at the first upload.
"""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from trackstack.agent import folders
from trackstack.agent.ensure_mlflow import mlflow_answers
from trackstack.agent.machine import StepError, run
from trackstack.agent.round import Round
from trackstack.desired import Release

_TRIES = {
    "postgresql": (
        "the database does not let MLflow in",
        "import importlib.util, pathlib, sys, psycopg\n"
        "address = sys.argv[1].replace('+psycopg', '', 1)\n"
        "with psycopg.connect(address, connect_timeout=5, autocommit=True) as database:\n"
        "    named = database.execute(\"SELECT to_regclass('alembic_version')\").fetchone()[0]\n"
        "    stamps = named and database.execute('SELECT version_num FROM alembic_version')\n"
        "    made = [row[0] for row in stamps or ()]\n"
        # The laptop tries the driver alone.
        "mlflow = importlib.util.find_spec('mlflow')\n"
        "if mlflow:\n"
        "    steps = pathlib.Path(mlflow.origin).parent / 'store/db_migrations/versions'\n"
        "    known = ''.join(step.name for step in steps.glob('*.py'))\n"
        "    newer = [stamp for stamp in made if stamp not in known]\n"
        "    if newer:\n"
        "        sys.exit(f'its tables are those of a newer MLflow (schema {newer[0]})')\n",
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
    open_stores(folders.PACKAGES / release.packages_id / "bin" / "python", settings(release))


def open_stores(
    python: Path, given: dict[str, str], inherited: Mapping[str, str] | None = None
) -> None:
    """Open the stores that are not in the machine's own folder, and leave them as they are.

    Args:
        python: one that has the stores' drivers.
        given: MLflow's environment variables, with the credentials.
        inherited: other variables; this process's own when None.

    Raises:
        StepError: one does not open; the problem says which, and why.
    """
    for address in (given["MLFLOW_BACKEND_STORE_URI"], given["MLFLOW_ARTIFACTS_DESTINATION"]):
        kind = address.partition(":")[0].partition("+")[0]
        if kind in _TRIES:
            problem, program = _TRIES[kind]
            try:
                run([str(python), "-P", "-c", program, address], problem, given, inherited)
            except StepError as error:
                raise StepError(f"{problem}: {_why(error.output)}") from error


def _why(output: str) -> str:
    """What stands after a trace, behind the error's class: one line, or a driver's several."""
    lines = output.strip().splitlines() or ["no word of why"]
    named = [n for n, line in enumerate(lines) if re.match(r"([a-z_]+\.)+\w+: ", line)]
    told = " ".join(" ".join(lines[named[-1] if named else -1 :]).split())
    return re.sub(r"^([a-z_]+\.)+\w+: ", "", told).rstrip(".?")


def settings(release: Release) -> dict[str, str]:
    """MLflow's environment variables, with the credentials of its stores."""
    files = {Path(file.path).name: file.content for file in release.files}
    given = parse(files[f"{release.mlflow}.env"])
    if folders.STORES.is_file():
        known = parse(folders.STORES.read_text())
        # Where MLflow has a user of its own, that could have written what leads the agent astray.
        taken = {"PGPASSWORD"} if folders.is_shared() else set(known)
        given |= {name: value for name, value in known.items() if name in taken}
    return given


def parse(text: str) -> dict[str, str]:
    """The variables of a file that a shell would read: NAME=VALUE, quoted or not."""
    pairs = (word.partition("=") for word in shlex.split(text, comments=True))
    return {name: value for name, equals, value in pairs if equals}
