"""A machine's clock that is off. A container has its computer's, so its services are shown another.

Debian's libfaketime shows it to the agent, nginx and MLflow and to what they start, by a drop-in of
their units; nothing else of the machine sees it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from box.guests import Guest

_UNITS = ("trackstack.service", "trackstack-nginx.service", "trackstack-mlflow@.service")
_SHOWN = "/etc/faketimerc"
_DROP_INS = " ".join(f"/run/systemd/system/{unit}.d" for unit in _UNITS)
# Waits and pauses are measured by a clock that only counts, which no wrong time of day changes.
_SHOW = f"""
set -eu
[ -e /usr/bin/faketime ] || apt-get install --quiet --yes faketime
library=$(echo /usr/lib/*/faketime/libfaketime.so.1)
for folder in {_DROP_INS}; do
  mkdir -p "$folder"
  shown="LD_PRELOAD=$library FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_NO_CACHE=1"
  printf '[Service]\\nEnvironment=%s\\n' "$shown" >"$folder/clock.conf"
done
"""
_RESTART = (
    "systemctl daemon-reload && systemctl restart trackstack trackstack-nginx 'trackstack-mlflow@*'"
)


@contextmanager
def wrong_clock(guest: Guest) -> Iterator[Callable[[str], None]]:
    """Sets how far the clock of a machine's services is off, such as '+2d'; right afterwards.

    They are started again for it at the beginning and at the end.
    """

    def put(off: str) -> None:
        guest.run(f"echo '{off}' >{_SHOWN}.new && mv {_SHOWN}.new {_SHOWN}")

    put("+0d")
    guest.run(_SHOW + _RESTART)
    try:
        yield put
    finally:
        guest.run(f"rm -r {_DROP_INS} {_SHOWN} && {_RESTART}")
