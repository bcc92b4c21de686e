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

# Besides what pyproject.toml lists, what builds the editable install: it runs without build isolation.
printf 'editables\nhatchling\n' | compile requirements-dev.lock --group dev "$@" -
# The smaller file agrees with the larger one, so that going from one to the other changes nothing else.
printf 'editables\nhatchling\n' | compile requirements.lock --constraints requirements-dev.lock "$@" -
