"""What a machine in a cloud is started with: it knows only where its control store is."""

import base64
import json
import lzma
import re

from trackstack import bundle
from trackstack.templating import render

_DEVICES = {
    "aws": "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol* /dev/xvdf",
    "gcp": "/dev/disk/by-id/google-trackstack-data",
}
"""Where a machine finds its data disk; on AWS the root disk has such a name too."""

_LZMA = [{"id": lzma.FILTER_LZMA1, "preset": 9 | lzma.PRESET_EXTREME, "lc": 3, "lp": 0, "pb": 0}]
"""Packs text in fewer bytes than the usual settings do, and without xz's frame of 40."""

SCRIPT = "/usr/local/lib/trackstack/machine.sh"
FILES = {
    "/usr/local/lib/trackstack/boot.py": "cloud-init/boot.py",
    "/etc/polkit-1/rules.d/trackstack.rules": "systemd/trackstack.rules",
    **{
        f"/etc/systemd/system/{each}.service.d/walls.conf": "systemd/walls.conf"
        for each in ("trackstack", "trackstack-")
    },
    **{
        f"/etc/systemd/system/{unit}": f"systemd/{unit}"
        for unit in (
            "trackstack-mlflow@.service",
            "trackstack-model@.service",
            "trackstack-models.service",
            "trackstack-nginx.service",
            "trackstack.service",
            "var-lib-trackstack.mount",
        )
    },
}
"""What is put on the machine besides, and the templates that it is."""


def render_user_data(cloud: str, store_address: str) -> str:
    """The user-data of a cloud's machine: the same bytes for the same address and kit.

    Args:
        cloud: 'gcp', where Google's agent runs it at every boot, or 'aws', where cloud-init would
            run it once: there it links itself to the scripts for every boot.
        store_address: of the control store, such as 's3://bucket?region=…&owner=…'.
    """
    files = {name: (bundle.templates() / source).read_text() for name, source in FILES.items()}
    files[SCRIPT] = render("cloud-init/machine.sh.j2", {"devices": _DEVICES[cloud]})
    files = {name: without_remarks(text) for name, text in files.items()}
    parts = "\0".join(part for named in files.items() for part in named)
    packed = lzma.compress(parts.encode(), format=lzma.FORMAT_ALONE, filters=_LZMA)
    machine = json.dumps({"cloud": cloud, "store": store_address})
    values = {"files": base64.b85encode(packed).decode(), "machine": machine, "script": SCRIPT}
    return render("cloud-init/user-data.sh.j2", values)


def without_remarks(text: str) -> str:
    """A script or unit without the lines that only its readers need, docstrings among them."""
    lines = re.sub(r'^ *""".*?"""\n', "", text, flags=re.M | re.S).splitlines(keepends=True)
    return "".join(line for line in lines if not re.match(r"\s*(# |// )", line))
