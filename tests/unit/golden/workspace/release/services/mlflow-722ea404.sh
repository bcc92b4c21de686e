#!/bin/sh
# Starts MLflow 3.17.2 in the machine's folder, on a unix socket only.
set -eu
# Under supervisor, a master that was killed leaves its workers: they hold memory and the database.
[ -z "${TRACKSTACK_PYTHON-}" ] || "$TRACKSTACK_PYTHON" -P -m trackstack.agent.processes
rm -f run/mlflow-722ea404.sock
set -a
. ./services/mlflow-722ea404.env
# This environment's own keys: without them MLflow encrypts with one that its source publishes.
. ./data/secrets.env
HOME=$PWD/tmp
PYTHONSAFEPATH=1
PYTHONUNBUFFERED=1
set +a
exec packages/9743f5481ec51380/bin/python services/mlflow-722ea404.py server \
    --serve-artifacts \
    --workers 2 \
    --uvicorn-opts "--uds run/mlflow-722ea404.sock --timeout-keep-alive 75 --no-access-log --no-server-header"
