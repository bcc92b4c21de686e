#!/bin/sh
# Measures the server beside what it replaces, and writes bench/results.json and the docs' table.
# usage: sh make/bench.sh [--rounds N] [--only NAME]
set -eu
cd "$(dirname "$0")/.."

command -v htpasswd >/dev/null || sh make/apt-install.sh apache2-utils
PYTHONPATH=.:tests exec .venv/bin/python -m bench "$@"
