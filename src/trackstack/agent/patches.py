"""What the operating system of a machine in a cloud says of its own updates."""

from datetime import UTC, datetime
from pathlib import Path

from trackstack.agent import itself
from trackstack.desired import Patches

_STAMPS = Path("/var/lib/apt/periodic")
_REBOOT = Path("/run/reboot-required")


def patches() -> Patches | None:
    """How far Debian's own updates have got; None on a computer that is somebody's own.

    apt's daily run, /usr/lib/apt/apt.systemd.daily of apt 3.0, touches `update-stamp` when the
    lists of packages were fetched, and `upgrade-stamp` when unattended-upgrade ended with 0: all
    that it may install is installed, if that was nothing. So the older of the two is the time since
    which something may be missing. `unattended-upgrades-stamp`, which unattended-upgrade 2.12
    writes itself, is touched too when a package could not be installed.

    /run/reboot-required is made by unattended-upgrades' own /etc/kernel/postinst.d hook when a
    kernel is installed, and by nothing else on a plain Debian 13.
    """
    if itself.running() is None:
        return None
    return Patches(last=_last_patched(), reboot_pending=_REBOOT.exists())


def _last_patched() -> datetime | None:
    try:
        touched = [(_STAMPS / name).stat().st_mtime for name in ("update-stamp", "upgrade-stamp")]
    except OSError:
        return None
    return datetime.fromtimestamp(int(min(touched)), UTC)
