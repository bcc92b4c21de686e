"""What a person does who follows a tutorial for MLflow; prints what came back as JSON.

It runs as the client: with MLflow's own packages and what `trackstack env` printed.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

import mlflow
import numpy
from mlflow import MlflowClient
from sklearn.tree import DecisionTreeRegressor

MODEL = sys.argv[1]
client = MlflowClient()

features = numpy.random.default_rng(seed=1).random((100, 5))
target = features.sum(axis=1)
tree = DecisionTreeRegressor(max_depth=4, random_state=1).fit(features, target)

big = Path("big.bin")
big.write_bytes(os.urandom(3 << 20))

mlflow.set_experiment(f"experiment of {MODEL}")
with mlflow.start_run(run_name="first") as started:
    mlflow.log_params({"tree_depth": 4, "note": "größer & 'quoted'"})
    for step in range(5):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)
    mlflow.log_text("Grüße", "notes/über uns.txt")
    mlflow.log_artifact(str(big), artifact_path="weights")
    mlflow.sklearn.log_model(
        tree,
        name="model",
        registered_model_name=MODEL,
        serialization_format="cloudpickle",
        input_example=features[:1],
    )

run = client.get_run(started.info.run_id)
artifacts = [file.path for file in client.list_artifacts(run.info.run_id, "weights")]
downloaded = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path=artifacts[0])

for stage in ("Staging", "Production"):
    client.transition_model_version_stage(MODEL, "1", stage)
    assert client.get_model_version(MODEL, "1").current_stage == stage
client.set_registered_model_alias(MODEL, "champion", "1")

by_alias = mlflow.sklearn.load_model(f"models:/{MODEL}@champion")
by_stage = mlflow.pyfunc.load_model(f"models:/{MODEL}/Production")

print(
    json.dumps(
        {
            "params": run.data.params,
            "losses": [
                metric.value for metric in client.get_metric_history(run.info.run_id, "loss")
            ],
            "text": mlflow.artifacts.load_text(f"{run.info.artifact_uri}/notes/über uns.txt"),
            "sent": hashlib.sha256(big.read_bytes()).hexdigest(),
            "received": hashlib.sha256(Path(downloaded).read_bytes()).hexdigest(),
            "user": run.info.user_id,
            "artifact_uri": run.info.artifact_uri,
            "stage": client.get_model_version(MODEL, "1").current_stage,
            "aliased": client.get_model_version_by_alias(MODEL, "champion").version,
            "example": features[0].tolist(),
            "predicted": tree.predict(features[:1])[0],
            "predicted_by_alias": by_alias.predict(features[:1])[0],
            "predicted_by_stage": float(by_stage.predict(features[:1])[0]),
        }
    )
)
