#!/bin/sh
# Makes a virtual environment of exactly what a lock names, each package checked against its hash.
# usage: fill.sh FOLDER LOCK
set -eu
here=$(dirname "$0")
python3 -m venv /tmp/uv
pip="/tmp/uv/bin/python -m pip --quiet --disable-pip-version-check"
$pip install --no-cache-dir --require-hashes --requirement "$here/uv.txt"
# uv does not read pip's settings, where a company's mirror usually stands.
mirror=$($pip config get global.index-url 2>/dev/null || true)
[ -z "$mirror" ] || export UV_DEFAULT_INDEX="$mirror"
export UV_SYSTEM_CERTS=1 UV_PYTHON_DOWNLOADS=never
/tmp/uv/bin/uv venv --quiet --no-project --python "$(command -v python3)" "$1"
/tmp/uv/bin/uv pip sync --quiet --no-cache --compile-bytecode --require-hashes --python "$1" "$2"
rm -rf /tmp/uv
