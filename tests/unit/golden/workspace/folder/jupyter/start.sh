#!/bin/sh
# Runs JupyterLab on what lies in the volume; the first time, puts the example there.
set -eu
mkdir -p "$HOME/notebooks" "$HOME/.mlflow"
cd "$HOME/notebooks"
# MLflow's client reads who it is from this file, each time anew.
ln -sfn /run/secrets/mlflow-credentials "$HOME/.mlflow/credentials"
[ -e "$HOME/.example-was-here" ] || cp /opt/trackstack/mlflow-example.ipynb .
touch "$HOME/.example-was-here"
exec jupyter lab --config=/opt/trackstack/jupyter_server_config.py
