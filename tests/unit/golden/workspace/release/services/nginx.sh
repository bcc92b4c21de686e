#!/bin/sh
# Starts nginx in the machine's folder. Started by root, its workers stay root's: they need
# MLflow's socket and the users' files, which are closed to everybody else.
set -eu
# Told to read its settings again before it is nginx: it reads them when it begins anyway.
trap '' HUP
# Under supervisor, a master that was killed leaves its workers: they hold the port.
[ -z "${TRACKSTACK_PYTHON-}" ] || "$TRACKSTACK_PYTHON" -P -m trackstack.agent.processes
rm -f run/nginx.sock
if [ "$(id -u)" = 0 ]; then
    exec nginx -p ./ -c nginx.conf -e stderr -g "user root;"
fi
exec nginx -p ./ -c nginx.conf -e stderr
