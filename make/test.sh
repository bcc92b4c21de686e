#!/bin/sh
# Runs the tests in parallel, measures what they reach of src, and says so.
# usage: sh make/test.sh [PYTEST ARGUMENT...]
set -eu
cd "$(dirname "$0")/.."

.venv/bin/coverage erase
.venv/bin/coverage run -m pytest --numprocesses logical --maxprocesses 8 --dist worksteal "$@"
.venv/bin/coverage combine --quiet
# Part of the tests cannot reach all of src, so only the whole is held to the floor.
[ $# = 0 ] || set -- --fail-under=0
.venv/bin/coverage report "$@"
