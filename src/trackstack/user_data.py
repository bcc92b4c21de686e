"""What a machine in a cloud is started with: it knows only where its control store is."""

import base64
import json
import zlib

from trackstack import bundle
from trackstack.templating import render

_DEVICES = {
    "aws": "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol* /dev/xvdf",
    "gcp": "/dev/disk/by-id/google-trackstack-data",
}
"""Where a machine finds its data disk; on AWS the root disk has such a name too."""


def render_user_data(cloud: str, store_address: str) -> str:
    """The user-data of a cloud's machine: the same bytes for the same address and kit.

    Args:
        cloud: 'gcp', where Google's agent runs it at every boot, or 'aws', where cloud-init would
            run it once: there it links itself to the scripts for every boot.
        store_address: of the control store, such as 's3://bucket?region=…&owner=…'.
    """
    boot = (bundle.templates() / "cloud-init" / "boot.py").read_bytes()
    packed = base64.b85encode(zlib.compress(boot, 9)).decode()
    machine = json.dumps({"cloud": cloud, "store": store_address})
    values = {"boot": packed, "machine": machine, "devices": _DEVICES[cloud]}
    return render("cloud-init/machine.sh.j2", values)
