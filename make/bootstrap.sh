#!/bin/sh
# Installs what is missing on this computer, then what the lock file says into .venv.
# usage: sh make/bootstrap.sh run|test
# A second run finds everything in place and asks neither a package manager nor the network.
set -eu
cd "$(dirname "$0")/.."
level=$1

say() { printf '%s\n' "$*" >&2; }
fail() { say "$@"; exit 4; }
have() { command -v "$1" >/dev/null 2>&1; }

missing=
need() { missing="$missing $*"; }

# A user's PATH on Debian leaves these two out, and nginx lies there.
PATH=$PATH:/usr/sbin:/sbin

find_python() {
  for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 /usr/bin/python3}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
      command -v "$candidate"
      return
    fi
  done
}

can_make_venvs() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

missing_on_debian() {
  # The file is there only while apt-install.sh is at work, or after it was killed.
  if ! have nginx || grep -qs trackstack /usr/sbin/policy-rc.d; then
    need nginx
  fi
  # Without these, pip and uv trust nobody.
  [ -e /etc/ssl/certs/ca-certificates.crt ] || need ca-certificates
  can_make_venvs "$python" || need python3-venv
  [ "$level" = test ] || return 0
  have git || need git
  must_be_able_to_build_the_engine
  if ! have chromium || ! have chromedriver; then
    # Ubuntu has Chromium as a snap only, so the tests that want one are skipped there.
    grep -q '^ID=ubuntu' /etc/os-release || need chromium chromium-driver fonts-liberation
  fi
  # What only some tests need, which are skipped without it.
  # Judges the units the kit writes, and makes small disks and wrong clocks to try it on.
  have systemd-analyze || need systemd
  have fish || need fish
  have bwrap || need bubblewrap
  have mkfs.ext4 || need e2fsprogs
  ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || need faketime
  if [ -n "${CI:-}" ] || [ "${BOX:-}" = 1 ]; then
    have mmdebstrap || need mmdebstrap
    have systemd-nspawn || need systemd-container
    have dnsmasq || need dnsmasq-base
    have ip || need iproute2
    have nft || need nftables
    [ -n "$(find /usr/lib/postgresql -name initdb 2>/dev/null)" ] || need postgresql
  fi
}

missing_on_macos() {
  have nginx || need nginx
  [ -n "$python" ] || need python@3.13
  [ "$level" = run ] || have git || need git
  [ "$level" = run ] || must_be_able_to_build_the_engine
}

must_be_able_to_build_the_engine() {
  # Debian's own Go is too old. Elsewhere than in CI the tests that want the engine are skipped.
  [ -z "${CI:-}" ] || have go || fail "Go 1.26 or newer is needed to build the Pulumi engine that" \
    "the tests run on, and there is none. Install it from https://go.dev/doc/install, then run" \
    "the same command again."
}

install_with_apt() {
  say "Installing with apt:$missing"
  if [ "$(id -u)" = 0 ]; then
    sh make/apt-install.sh $missing
  elif have sudo; then
    sudo sh make/apt-install.sh $missing
  else
    false
  fi || fail "These packages are needed and could not be installed:$missing." \
    "Let root run: sh $PWD/make/apt-install.sh$missing - then run the same command again."
}

install_with_brew() {
  say "Installing with Homebrew:$missing"
  brew install --quiet $missing </dev/null >&2 ||
    fail "Homebrew could not install:$missing. What it said stands above."
}

must_have_python() {
  [ -n "$python" ] || fail "Python 3.11 or newer is needed, and none was found" \
    "(python3 says: $(python3 --version 2>&1 || true)). Install one, then run the same command" \
    "with PYTHON=/path/to/python3 at its end."
}

install_what_is_missing() {
  if have apt-get; then
    must_have_python
    missing_on_debian
    [ -z "$missing" ] || install_with_apt
  elif have brew; then
    missing_on_macos
    [ -z "$missing" ] || install_with_brew
    python=$(find_python)
    must_have_python
  else
    must_have_python
    have nginx || fail "nginx is needed and not on this computer. Install it" \
      "(this script knows only apt and Homebrew), then run the same command again."
  fi
  can_make_venvs "$python" || fail "$python cannot make virtual environments: it lacks ensurepip." \
    "Install its venv package, or run the same command with PYTHON=/path/to/another/python3 at its end."
}

# One for the place and the interpreter, one for what is inside.
made_for() { printf '%s %s\n' "$PWD" "$("$python" --version)"; }
contents() { cat pyproject.toml "$lock" | cksum; }
recorded() { cat ".venv/$1" 2>/dev/null || true; }

fill_venv() {
  if [ "$(recorded made-for)" != "$(made_for)" ] || ! .venv/bin/python -m uv --version >/dev/null 2>&1; then
    say "Making .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
    # pip is there only to fetch uv, at the version and with the hash of the lock file.
    awk '/^[^ ]/ { wanted = /^uv==/ } wanted' "$lock" >.venv/uv.txt
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.txt
    made_for >.venv/made-for
  fi
  # uv does not read pip's settings, where a company's mirror usually stands.
  mirror=${PIP_INDEX_URL:-$(.venv/bin/python -m pip config get global.index-url 2>/dev/null || true)}
  [ -z "$mirror" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$mirror}"
  say "Installing the packages of $lock into .venv"
  .venv/bin/python -m uv pip sync --quiet --python .venv/bin/python --require-hashes "$lock"
  # hatchling comes from the lock file too, so nothing is fetched here.
  .venv/bin/python -m uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation -e .
  contents >".venv/installed-$level"
}

python=$(find_python)
install_what_is_missing
# Tools that were installed for the tests stay when the kit is only run.
[ ! -e .venv/installed-test ] || level="test"
lock=requirements.lock
[ "$level" = run ] || lock=requirements-dev.lock
if [ "$(recorded made-for)" != "$(made_for)" ] || [ "$(recorded "installed-$level")" != "$(contents)" ]; then
  fill_venv
fi
