#!/bin/sh
# Starts MLflow 3.17.2 in the machine's folder, on a unix socket only.
set -eu
umask 077
# A master that was killed leaves its workers: they hold memory and the database.
"$TRACKSTACK_PYTHON" -P -m trackstack.agent.processes
rm -f run/mlflow-e4f08a3e.sock
set -a
. ./services/mlflow-e4f08a3e.env
# This environment's own keys: without them MLflow encrypts with one that its source publishes.
. ./data/secrets.env
HOME=$PWD/tmp
PYTHONSAFEPATH=1
PYTHONUNBUFFERED=1
set +a
exec packages/9743f5481ec51380/bin/python services/mlflow-e4f08a3e.py server \
    --serve-artifacts \
    --workers 2 \
    --uvicorn-opts "--uds run/mlflow-e4f08a3e.sock --timeout-keep-alive 75 --no-access-log --no-server-header"
