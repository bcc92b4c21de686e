#!/bin/sh
# Writes both lock files: versions and hashes for every platform and Python the kit runs on.
# usage: sh make/lock.sh [--upgrade]
set -eu
cd "$(dirname "$0")/.."

compile() {
  output=$1
  shift
  .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
    --no-emit-index-url --no-emit-find-links -o "$output" pyproject.toml "$@"
}

# What machines install: versions and hashes, and nothing about where they came from.
for_machines() {
  output=templates/requirements/$1
  shift
  .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
    --no-annotate --no-emit-index-url --no-emit-find-links -o "$output" "$@" -
}

# Besides what pyproject.toml lists, what builds the editable install: it runs without build isolation.
printf 'editables\nhatchling\n' | compile requirements-dev.lock --group dev "$@" -
# The smaller file agrees with the larger one, so that going from one to the other changes nothing else.
printf 'editables\nhatchling\n' | compile requirements.lock --constraints requirements-dev.lock "$@" -
mlflow=$(sed -n 's/^DEFAULT_MLFLOW = "\(.*\)"$/\1/p' src/trackstack/lock.py)
echo "mlflow==$mlflow" | for_machines "mlflow-$mlflow.txt" "$@"
for cloud in aws gcp; do
  sdk=boto3 more=
  [ $cloud = aws ] || sdk=google-cloud-storage more=requests
  printf '%s\n' "mlflow==$mlflow" 'psycopg[binary]' "$sdk" |
    for_machines "mlflow-$mlflow-$cloud.txt" --constraints "templates/requirements/mlflow-$mlflow.txt" "$@"
  printf '%s\n' cryptography inotify-simple psutil pydantic supervisor uv "$sdk" $more |
    for_machines "agent-$cloud.txt" "$@"
done
# Of the compose workspace's images: its server, the agent in it, and JupyterLab with a client.
printf '%s\n' "mlflow==$mlflow" 'psycopg[binary]' paramiko |
  for_machines "mlflow-$mlflow-compose.txt" --constraints "templates/requirements/mlflow-$mlflow.txt" "$@"
printf '%s\n' cryptography inotify-simple psutil pydantic supervisor uv |
  for_machines agent-compose.txt "$@"
printf '%s\n' "mlflow==$mlflow" jupyterlab pip |
  for_machines "mlflow-$mlflow-jupyter.txt" --constraints "templates/requirements/mlflow-$mlflow.txt" "$@"
