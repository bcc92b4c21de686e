"""Machines of a cloud: namespaces in which the agent runs as the user-data says.

What of user-data runs here is what it writes to files: boot.py, which is started as its unit would
start it. Packages, disks and systemd are the business of tests that boot a real Debian.
"""

import base64
import gzip
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock

import yaml

import supervised
from engine.world.network import OWNER, Computer, Network
from engine.world.ready import seed
from engine.world.serving import Secured
from kits import CACHE

_BOOT, _MACHINE = "/usr/local/lib/trackstack/boot.py", "/etc/trackstack/machine.json"
_WRITTEN = r"^cd (\S+)\ncat >(\S+)\.new <<'END'\n(.*?\n)END$"
INHERITED = ("COVERAGE_", "PIP_", "SSL_CERT_", "UV_", "REQUESTS_CA_", "CURL_CA_", OWNER)
"""How variables begin that say where packages come from, if coverage is counted, whose it is."""


@dataclass
class Machine:
    """One machine.

    Attributes:
        id: as its cloud calls it.
        user_data: as it is at the moment; it counts at the next start.
        type: the same, such as 't3.small'; nothing to a machine that is only a namespace.
        volumes: names of the data volumes that are attached.
        folder: its own disk, with its console output.
        computer: where it runs; None when it is stopped.
    """

    id: str
    address: str
    user_data: str
    type: str
    folder: Path
    volumes: list[str] = field(default_factory=list)
    computer: Computer | None = None

    @property
    def console(self) -> str:
        """What it printed so far."""
        try:
            return (self.folder / "console.txt").read_text(errors="replace")
        except FileNotFoundError:
            return ""


class Machines:
    """All machines of a world, and their volumes.

    Args:
        folder: holds disks and volumes.
        ready: whether a new volume holds all packages already, which saves a test time.

    Attributes:
        secured: where the cloud is to answer under its own names; None when machines know others.
    """

    secured: Secured | None = None

    def __init__(self, network: Network, folder: Path, ready: bool) -> None:
        self._network = network
        self._folder = folder
        self._ready = ready
        self._variables: Mapping[str, str] = {}
        self._lock = RLock()
        self._hosts: dict[str, str] = {}
        self.all: dict[str, Machine] = {}

    def at(self, address: str) -> Machine | None:
        """The machine with an address."""
        return next((each for each in list(self.all.values()) if each.address == address), None)

    def meet(self, metadata: str, variables: Mapping[str, str]) -> None:
        """Before the first starts: how machines reach their cloud.

        Args:
            metadata: the address of the metadata service, with its port.
            variables: for programs that know their cloud by variables.
        """
        del metadata
        self._variables = variables

    def make(self, id_: str, address: str, user_data: str, type_: str) -> Machine:
        """Start a new machine; with nothing on it but its own disk, it waits for a volume."""
        folder = self._folder / "machines" / id_
        folder.mkdir(parents=True, mode=0o700)
        with self._lock:
            made = self.all[id_] = Machine(id_, address, user_data, type_, folder)
        self.start(made)
        return made

    def start(self, machine: Machine) -> None:
        """Switch it on."""
        machine.computer = self._network.start_computer(machine.address)
        machine.computer.know(self._hosts)
        machine.computer.let_in([])
        self._boot(machine)

    def stop(self, machine: Machine, kindly: bool = True) -> None:
        """Switch it off, or let its power fail."""
        if machine.computer is not None:
            machine.computer.end_all(kindly)
            machine.computer.remove()
            machine.computer = None

    def remove(self, id_: str) -> None:
        """Switch it off for ever; its own disk goes, its volumes stay."""
        machine = self.all.pop(id_, None)
        if machine is not None:
            self.stop(machine)

    def remove_all(self) -> None:
        """All of them, at once."""
        for machine in list(self.all.values()):
            self.stop(machine, kindly=False)
        self.all.clear()

    def attach(self, id_: str, volume: str, device: str) -> None:
        """Give a machine a volume: it boots on with it.

        Args:
            device: the name that it has in /dev/disk/by-id.
        """
        del device
        machine = self.all[id_]
        machine.volumes.append(volume)
        if machine.computer is not None:
            self._boot(machine)

    def detach(self, id_: str, volume: str) -> None:
        """Take a volume from a machine, which is stopped for it and waits for another."""
        machine = self.all.get(id_)
        if machine is not None and volume in machine.volumes:
            if machine.computer is not None:
                machine.computer.end_all()
            machine.volumes.remove(volume)

    def know(self, hosts: Mapping[str, str]) -> None:
        """Let every machine, also later ones, know names."""
        self._hosts = dict(hosts)
        for machine in list(self.all.values()):
            if machine.computer is not None:
                machine.computer.know(self._hosts)

    def let_in(self, id_: str, networks: Sequence[str]) -> None:
        """Set who may connect to a machine's port 443."""
        machine = self.all.get(id_)
        if machine is not None and machine.computer is not None:
            machine.computer.let_in(networks)

    def let_reach(self, address: str, ids: Sequence[str]) -> None:
        """Set which machines may connect to a service's address, where a network can tell."""

    def volume(self, name: str) -> Path:
        """The folder of a data volume; made when it is not there."""
        folder = self._folder / "volumes" / name
        if not folder.is_dir():
            folder.mkdir(parents=True, mode=0o700)
        return folder

    def _boot(self, machine: Machine) -> None:
        """Start boot.py when user-data wrote it and there is a volume to work on."""
        files = _files(machine.user_data)
        if machine.computer is None or not machine.volumes or not {_BOOT, _MACHINE} <= set(files):
            return
        for path, content in files.items():
            place = machine.folder / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        volume = self.volume(machine.volumes[0])
        if self._ready and not any(volume.iterdir()):
            seed(volume, json.loads(files[_MACHINE])["cloud"])
        machine.computer.start(
            supervised.command(
                machine.folder / _BOOT.lstrip("/"), machine.folder / _MACHINE.lstrip("/"), volume
            ),
            self._environment(machine),
            machine.folder / "console.txt",
        )

    def _environment(self, machine: Machine) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if k.startswith(INHERITED)}
        known = ",".join(["localhost", "127.0.0.1", self._network.laptop, machine.address])
        return {
            **inherited,
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(machine.folder),
            "LANG": "C.UTF-8",
            "UV_CACHE_DIR": str(CACHE / "uv"),
            **self._variables,
            "NO_PROXY": known,
            "no_proxy": known,
        }


def _files(given: str) -> dict[str, bytes]:
    """What user-data writes to files: by cloud-init's own configuration, or a script's."""
    if given.startswith("#!"):
        return _written_by_script(given)
    if not given.startswith("#cloud-config"):
        return {}
    return {
        each["path"]: _decoded(each["content"], each.get("encoding", ""))
        for each in yaml.safe_load(given).get("write_files", [])
    }


def _written_by_script(script: str) -> dict[str, bytes]:
    """The files of templates/cloud-init/machine.sh.j2 that the machine's program needs."""
    found = {
        f"{folder}/{name}": content.encode()
        for folder, name, content in re.findall(_WRITTEN, script, re.M | re.S)
    }
    if "b85decode" in script:
        found |= {path: text.encode() for path, text in supervised.unpack(script).items()}
    return found


def _decoded(content: str | bytes, encoding: str) -> bytes:
    """https://cloudinit.readthedocs.io/en/latest/reference/modules.html#write-files"""
    data = content.encode() if isinstance(content, str) else content
    if encoding.endswith(("b64", "base64")):
        data = base64.b64decode(data)
    return gzip.decompress(data) if encoding.startswith("gz") else data


Hardware = Callable[[str, Network, Path, Sequence[str]], AbstractContextManager[Machines]]
"""Other machines: of a cloud, on a network, with a folder, where the cloud has these names."""
