#!/bin/sh
# Runs PostgreSQL; the first time, makes the cluster with MLflow's role and database in it.
set -eu
PATH=/usr/lib/postgresql/17/bin:$PATH
data=/var/lib/postgresql/17
new=$data.new

if [ ! -d "$data" ]; then
  # Under another name until it is whole: a killed start begins anew.
  rm -rf "$new"
  initdb --pgdata="$new" --username=trackstack --auth-local=peer --auth-host=scram-sha-256 \
    --encoding=UTF8 --locale=C.UTF-8 --data-checksums >/dev/null
  echo "host mlflow mlflow all scram-sha-256" >>"$new/pg_hba.conf"
  pg_ctl --pgdata="$new" --wait --silent --options="-c listen_addresses=''" start
  # psql reads the password itself: it is in no argument.
  psql --quiet --dbname=postgres --set=ON_ERROR_STOP=1 <<'SQL'
\set password `cat /run/secrets/database-password`
CREATE ROLE mlflow LOGIN PASSWORD :'password';
CREATE DATABASE mlflow OWNER mlflow;
SQL
  pg_ctl --pgdata="$new" --wait --silent --mode=fast stop
  mv "$new" "$data"
fi
exec postgres -D "$data" -c "listen_addresses=*"
