#!/bin/sh
# Installs Debian packages (as root) so that nginx's own service never starts, and port 80 stays shut.
# usage: sh make/apt-install.sh PACKAGE...
# An nginx that was installed before keeps its service as its owner has it.
set -eu

# Package scripts ask this program before they start a service. While ours stands there, it also
# marks that nginx's service is still to be switched off: a killed run leaves it, the next goes on.
policy=/usr/sbin/policy-rc.d
owners_policy=$policy.before-trackstack
log=$(mktemp)

unfinished() { grep -qs trackstack "$policy"; }
nginx_is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' nginx 2>/dev/null)" = installed ]; }

forbid_nginx() {
  [ ! -e "$policy" ] || mv "$policy" "$owners_policy"
  cat >"$policy" <<'POLICY'
#!/bin/sh
# Made by trackstack's make/apt-install.sh, which removes it when it has installed its packages.
case " $* " in *" nginx "* | *" nginx.service "*) exit 101 ;; esac
[ ! -x /usr/sbin/policy-rc.d.before-trackstack ] || exec /usr/sbin/policy-rc.d.before-trackstack "$@"
POLICY
  chmod 755 "$policy"
}

allow_nginx() {
  unfinished || return 0
  # Switched off for the next boot too.
  if nginx_is_installed && ! update-rc.d nginx disable >>"$log" 2>&1; then
    code=1
  fi
  rm "$policy"
  [ ! -e "$owners_policy" ] || mv "$owners_policy" "$policy"
}

apt() {
  # needrestart would restart services of this machine's owner, or ask about them.
  DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
    apt-get --quiet --yes -o DPkg::Lock::Timeout=300 "$@" </dev/null >>"$log" 2>&1
}

finish() {
  code=$?
  allow_nginx
  [ "$code" = 0 ] || tail -n 20 "$log" >&2
  rm -f "$log"
  exit "$code"
}
trap finish EXIT
trap 'exit 130' HUP INT TERM

unfinished || nginx_is_installed || forbid_nginx
apt update
apt install --no-install-recommends "$@"
