"""An MLflow client that knows only its environment: logs a run, an artifact, and fetches both."""

import hashlib
import importlib.util
import json
import os
import sys
from pathlib import Path

import mlflow

CLOUDS = ("AWS_", "GOOGLE_", "MLFLOW_S3", "STORAGE_", "PG")

mlflow.set_experiment("round trip")
sent = Path("sent.bin")
with sent.open("wb") as file:
    for _ in range(int(sys.argv[1])):
        file.write(os.urandom(1 << 20))
with mlflow.start_run() as run:
    mlflow.log_param("depth", 3)
    mlflow.log_metrics({"loss": 0.25})
    mlflow.log_artifact(str(sent), "folder")

found = mlflow.MlflowClient().get_run(run.info.run_id)
received = Path(
    mlflow.artifacts.download_artifacts(f"{run.info.artifact_uri}/folder/sent.bin", dst_path="got")
)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


print(
    json.dumps(
        {
            "run": run.info.run_id,
            "user": found.info.user_id,
            "logged": [found.data.params, found.data.metrics],
            "sent": sha256(sent),
            "received": sha256(received),
            "address": run.info.artifact_uri,
            "cloud": [name for name in os.environ if name.startswith(CLOUDS)]
            + [name for name in ("boto3", "psycopg") if importlib.util.find_spec(name)],
        }
    )
)
