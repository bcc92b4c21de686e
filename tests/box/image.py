"""The image that the box's machines boot: Debian 13 as a cloud's own image has it.

What a container lacks of a real machine, and what leads to the doubles in place of the cloud, is
added here and only here; user-data stays what the cloud would hand over.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import roots
from box import authority

SUITE = "trixie"
METADATA = "169.254.169.254"
"""Where both clouds' machines find their metadata service."""
# Those of Debian's cloud images that a deployed machine has to do with.
_PACKAGES = (
    *("systemd", "systemd-sysv", "systemd-resolved", "dbus", "ca-certificates", "iproute2"),
    *("procps", "e2fsprogs", "util-linux", "curl", "sudo", "python3", "openssh-server"),
    *("cloud-init", "netbase", "iputils-ping"),
)
_TRUSTED = "etc/ssl/certs/ca-certificates.crt"

# systemd-udevd does not run in a container. It would make these links when a disk changes.
_UDEVADM = """#!/bin/sh
mkdir -p /dev/disk/by-label
for disk in /dev/nvme[1-9]n1 /dev/sd[b-z]; do
  [ -b "$disk" ] || continue
  label=$(blkid -p -s LABEL -o value "$disk") || continue
  [ -z "$label" ] || ln -sfn "$disk" "/dev/disk/by-label/$label"
done
"""
_UDEV_UNIT = """[Unit]
Description=The box's udev: links to disks by their labels
DefaultDependencies=no
Before=local-fs-pre.target
Wants=local-fs-pre.target

[Service]
Type=oneshot
ExecStart=/usr/bin/udevadm settle

[Install]
WantedBy=sysinit.target
"""

# cloud-init asks the firmware which cloud it is in, and believes no container's.
_DMI = """

def read_dmi_data(key):
    try:
        with open("/etc/box/dmi/" + key) as told:
            return told.read().strip()
    except OSError:
        return None
"""

# What Google's guest agent does with a start script; Debian has no package of it.
# https://cloud.google.com/compute/docs/instances/startup-scripts/linux
_STARTUP = """#!/bin/sh
url=http://metadata.google.internal/computeMetadata/v1/instance/attributes/startup-script
script=$(mktemp)
curl --silent --fail --retry 10 --retry-connrefused --header "Metadata-Flavor: Google" \\
  --output "$script" "$url" || exit 0
chmod 700 "$script"
echo "google_metadata_script_runner: Found startup-script in metadata."
"$script" 2>&1
echo "google_metadata_script_runner: startup-script exit status $?"
rm "$script"
"""
_STARTUP_UNIT = """[Unit]
Description=Google Compute Engine Startup Scripts
After=network-online.target
Wants=network-online.target
ConditionPathExists=/etc/box/dmi/system-product-name

[Service]
Type=oneshot
ExecStart=/usr/bin/google-startup-scripts
KillMode=process
StandardOutput=journal+console
StandardError=journal+console

[Install]
WantedBy=multi-user.target
"""

# For all units, whoever starts them: packages' own lists of authorities do not know the box's.
_ENVIRONMENT = f"""[Manager]
DefaultEnvironment="SSL_CERT_FILE=/{_TRUSTED}" "REQUESTS_CA_BUNDLE=/{_TRUSTED}" \\
  "AWS_CA_BUNDLE=/{_TRUSTED}" "UV_SYSTEM_CERTS=1"
"""

# Before it has a network, cloud-init on AWS asks three times for a name, which no neighbour knows:
# to ask them all by LLMNR takes eleven seconds of each boot.
_RESOLVED = """[Resolve]
LLMNR=no
"""

# Else the kernel goes on to format a disk for minutes, beside a power cut that copies it.
_AT_ONCE = """[defaults]
\tlazy_itable_init = 0"""

_FILES = {
    "etc/systemd/resolved.conf.d/box.conf": (_RESOLVED, 0o644),
    "etc/systemd/system.conf.d/box.conf": (_ENVIRONMENT, 0o644),
    "etc/systemd/system/box-udev.service": (_UDEV_UNIT, 0o644),
    "etc/systemd/system/google-startup-scripts.service": (_STARTUP_UNIT, 0o644),
    "usr/bin/google-startup-scripts": (_STARTUP, 0o755),
    "usr/bin/udevadm": (_UDEVADM, 0o755),
}
# What a container has no use for: consoles to log in at, and a clock of its own.
_MASKED = ("console-getty.service", "getty@tty1.service", "systemd-timesyncd.service")
_ENABLED = ("systemd-networkd", "systemd-resolved", "box-udev", "google-startup-scripts")


@dataclass(frozen=True)
class Image:
    """What machines start from.

    Attributes:
        root: its file system, for reading only.
        key: of the authority that it trusts; not in the image.
    """

    root: Path
    key: Path


@contextmanager
def golden_image() -> Iterator[Image]:
    """The image; made in a minute or two when it is not in the cache."""
    sources = (__file__, roots.__file__, authority.__file__)
    recipe = b"".join(Path(source).read_bytes() for source in sources)
    with roots.golden_root("box", recipe, _make) as folder:
        yield Image(folder / "root", folder / "authority.key")


def firmware(cloud: str) -> dict[str, str]:
    """Files that make the image one of a cloud.

    Args:
        cloud: 'aws' or 'gcp'.
    """
    source, told = {
        "aws": ("Ec2", {"system-uuid": "ec20e5ea-0000-4000-8000-00000000b0b0"}),
        "gcp": ("GCE", {"system-product-name": "Google Compute Engine"}),
    }[cloud]
    # Google's images know the metadata service before they know a resolver.
    google = f"{METADATA} metadata.google.internal metadata\n" if cloud == "gcp" else ""
    return {
        "etc/hosts": f"127.0.0.1 localhost\n{google}",
        "etc/cloud/cloud.cfg.d/95_box.cfg": f"datasource_list: [{source}]\n",
        **{f"etc/box/dmi/{key}": f"{value}\n" for key, value in told.items()},
    }


def _make(folder: Path) -> None:
    root = folder / "root"
    folder.mkdir()
    roots.debian(SUITE, _PACKAGES, root)
    # The resolver's own file stays: names come by DHCP.
    roots.copy_network_settings(root, leave_out=("etc/resolv.conf", "etc/hosts"))
    authority.make(folder / "authority.pem", folder / "authority.key")
    trusted = root / "usr/local/share/ca-certificates/box.crt"
    trusted.write_bytes((folder / "authority.pem").read_bytes())
    for name, (text, mode) in _FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
    with (root / "usr/lib/python3/dist-packages/cloudinit/dmi.py").open("a") as dmi:
        dmi.write(_DMI)
    formats = root / "etc/mke2fs.conf"
    formats.write_text(formats.read_text().replace("[defaults]", _AT_ONCE, 1))
    (root / "etc/hostname").unlink(missing_ok=True)
    (root / "etc/machine-id").write_text("uninitialized\n")
    for command in (
        ("update-ca-certificates",),
        ("systemctl", "enable", *_ENABLED),
        ("systemctl", "mask", *_MASKED),
    ):
        _in_root(root, *command)


def _in_root(root: Path, *command: str) -> None:
    done = subprocess.run(
        ["chroot", root, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}"
