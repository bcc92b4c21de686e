#!/bin/sh
# Starts MLflow 3.17.2 in the machine's folder, on a unix socket only.
set -eu
umask 077
rm -f run/mlflow-818d8d26.sock
set -a
. ./services/mlflow-818d8d26.env
# This environment's own keys: without them MLflow encrypts with one that its source publishes.
. ./data/secrets.env
HOME=$PWD/tmp
PYTHONSAFEPATH=1
PYTHONUNBUFFERED=1
set +a
exec packages/9743f5481ec51380/bin/python -m mlflow server \
    --serve-artifacts \
    --workers 2 \
    --uvicorn-opts "--uds run/mlflow-818d8d26.sock --timeout-keep-alive 75 --no-access-log --no-server-header"
