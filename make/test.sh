#!/bin/sh
# Runs the tests in parallel, measures what they reach of src, and says so.
# usage: sh make/test.sh [PYTEST ARGUMENT...]
# `.venv/bin/coverage report` shows the lines afterwards.
set -eu
cd "$(dirname "$0")/.."

# A user's PATH on Debian leaves these two out, and nginx, ip and nft lie there.
PATH=$PATH:/usr/sbin:/sbin

# Where it is set, each of the thousands of commands that follow would compile all that it imports.
unset PYTHONDONTWRITEBYTECODE

# Part of the tests, or a computer that lacks something, cannot reach all of src.
floor=0
[ $# != 0 ] || [ -z "${CI:-}" ] || floor=90

.venv/bin/coverage erase
.venv/bin/coverage run -m pytest --numprocesses logical --maxprocesses 8 --dist worksteal "$@"
.venv/bin/coverage combine --quiet
reached=$(.venv/bin/coverage report --format total)
echo "$reached % of src was reached, branches counted."
if [ "$reached" -lt "$floor" ]; then
  echo "That is less than $floor %: \`.venv/bin/coverage report\` shows what was not." >&2
  exit 1
fi
