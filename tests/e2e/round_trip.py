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
sent = os.urandom(int(sys.argv[1]) << 20)
Path("sent.bin").write_bytes(sent)
with mlflow.start_run() as run:
    mlflow.log_param("depth", 3)
    mlflow.log_metrics({"loss": 0.25})
    mlflow.log_artifact("sent.bin", "folder")

found = mlflow.MlflowClient().get_run(run.info.run_id)
received = Path(
    mlflow.artifacts.download_artifacts(f"{run.info.artifact_uri}/folder/sent.bin", dst_path="got")
).read_bytes()
print(
    json.dumps(
        {
            "run": run.info.run_id,
            "user": found.info.user_id,
            "logged": [found.data.params, found.data.metrics],
            "sent": hashlib.sha256(sent).hexdigest(),
            "received": hashlib.sha256(received).hexdigest(),
            "address": run.info.artifact_uri,
            "cloud": [name for name in os.environ if name.startswith(CLOUDS)]
            + [name for name in ("boto3", "psycopg") if importlib.util.find_spec(name)],
        }
    )
)
