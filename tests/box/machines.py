"""The machines of a world that boot: they take the place of engine.world.machines.Machines."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from box import authority, memory
from box.disks import Disk
from box.guests import Guest
from box.image import Image, firmware, golden_image
from box.wires import Wires, wires
from engine.world.machines import Machine, Machines
from engine.world.network import Network
from engine.world.serving import Secured

PROGRAMS = {
    "dnsmasq": "dnsmasq-base",
    "losetup": "mount",
    "mmdebstrap": "mmdebstrap",
    "nsenter": "util-linux",
    "systemd-nspawn": "systemd-container",
}
"""What the box needs besides the world's own, and the Debian package that has it."""

_DEVICES = {"aws": ("ens5", "/dev/nvme1n1"), "gcp": ("ens4", "/dev/sdb")}
"""What each cloud's machines call their network and their first data volume."""


class BootedMachines(Machines):
    """Machines that are really booted.

    Attributes:
        guests: those that are on, by the ids of their machines.
        wires: what their network does for them; trouble is made there.
        found: files that a machine's disk has from the beginning, besides its firmware's.
    """

    def __init__(
        self, cloud: str, network: Network, folder: Path, image: Image, cables: Wires
    ) -> None:
        super().__init__(network, folder, ready=False)
        self._cloud = cloud
        self._image = image
        self.wires = cables
        self._disks: dict[str, Disk] = {}
        self._names: dict[str, tuple[str, ...]] = {}
        self._reach: dict[str, Sequence[str]] = {}
        self.guests: dict[str, Guest] = {}
        self.found: dict[str, str] = {}

    def meet(self, metadata: str, variables: Mapping[str, str]) -> None:
        """Lead the machines to the metadata service; variables are nothing to a real machine."""
        del variables
        self.wires.metadata = int(metadata.rpartition(":")[2])

    def start(self, machine: Machine) -> None:
        """Switch it on."""
        socket = self.wires.plug(machine.address, _DEVICES[self._cloud][0])
        machine.computer = socket
        console = machine.folder / "console.txt"
        guest = Guest(self._image, machine.folder, socket, console, memory.of(machine.type))
        guest.devices = self._devices(machine)
        self.guests[machine.id] = guest
        # What a cloud makes side by side adds to them meanwhile.
        for address in list(self._reach):
            self.let_reach(address, self._reach[address])
        guest.boot(firmware(self._cloud) | self.found)

    def stop(self, machine: Machine, kindly: bool = True) -> None:
        """Switch it off, or let its power fail."""
        guest = self.guests.pop(machine.id, None)
        if guest is not None:
            guest.off(kindly)
            self.wires.unplug(guest.socket)
            machine.computer = None
        for volume in machine.volumes:
            if volume in self._disks:
                self._disks.pop(volume).release()

    def cut_power(self, machine: Machine) -> None:
        """Let its power fail and come back at once, which its cloud does not notice.

        Its volumes have what it had written to them; what it was yet to write is lost.
        """
        guest = self.guests[machine.id]
        with guest.struck():
            arrived = {each: self._disk(each).copy_what_arrived() for each in machine.volumes}
        guest.off(kindly=False)
        for volume, file in arrived.items():
            disk = self._disks.pop(volume)
            disk.release()
            file.replace(disk.file)
        guest.devices = self._devices(machine)
        guest.boot(firmware(self._cloud) | self.found)

    def attach(self, id_: str, volume: str, device: str) -> None:
        """Give a machine a volume, while it runs or not."""
        machine = self.all[id_]
        machine.volumes.append(volume)
        first = _DEVICES[self._cloud][1]
        self._names[volume] = (first, f"/dev/disk/by-id/{device}")
        if id_ in self.guests:
            self.guests[id_].plug(self._disk(volume).device, self._names[volume])

    def detach(self, id_: str, volume: str) -> None:
        """Take a volume from a machine, which is stopped for it."""
        machine = self.all.get(id_)
        if machine is not None and volume in machine.volumes:
            self.stop(machine)
            machine.volumes.remove(volume)

    def know(self, hosts: Mapping[str, str]) -> None:
        """Let every machine, also later ones, know names."""
        self.wires.know(hosts)

    def let_in(self, id_: str, networks: Sequence[str]) -> None:
        """Set who may connect to a machine's port 443."""
        guest = self.guests.get(id_)
        if guest is not None:
            self.wires.let_in(guest.socket.name, networks)

    def let_reach(self, address: str, ids: Sequence[str]) -> None:
        """Set which machines, and so who at all, may connect to a service's address."""
        self._reach[address] = ids
        guests = [guest for each in ids if (guest := self.guests.get(each))]
        self.wires.guard(address, [guest.socket.name for guest in guests])

    def guest(self) -> Guest:
        """The only machine that is on."""
        (found,) = self.guests.values()
        return found

    def _devices(self, machine: Machine) -> dict[str, tuple[str, ...]]:
        return {self._disk(each).device: self._names[each] for each in machine.volumes}

    def _disk(self, volume: str) -> Disk:
        if volume not in self._disks:
            self._disks[volume] = Disk(self.volume(volume) / "disk")
        return self._disks[volume]


@contextmanager
def booted(
    cloud: str, network: Network, folder: Path, names: Sequence[str]
) -> Iterator[BootedMachines]:
    """Machines that boot; nothing of them is left afterwards. See Hardware.

    Args:
        cloud: 'aws' or 'gcp'.
        folder: holds disks and volumes.
        names: what the cloud's interfaces are called, with `*` for one part.
    """
    missing = [package for program, package in PROGRAMS.items() if shutil.which(program) is None]
    if missing:
        pytest.skip(f"a machine that boots needs the Debian packages {', '.join(missing)}")
    with golden_image() as image, wires(network, folder) as cables:
        front = network.address_here()
        made = BootedMachines(cloud, network, folder, image, cables)
        made.secured = Secured(front, authority.context(image.key, names))
        cables.answer_names({name.removeprefix("*."): front for name in names})
        try:
            yield made
        finally:
            made.remove_all()
