"""What a cloud's network does for its machines, on the host and out of their reach.

Each machine hangs on a cable of its own. The host gives it its address by DHCP, tells it names,
leads 169.254.169.254 to the metadata service and everything that is not of this network out to the
real world, lets in what the machine's security group says, and keeps others from a service that is
for machines only. No setting of the whole host is changed, so worlds do not get into each other's
way.
"""

import socket
import socketserver
import struct
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Lock
from typing import cast

import keeping
from box.image import METADATA
from engine.world.network import Computer, Network, ip, mac, make_etc
from engine.world.serving import Server, pass_on, serving
from kits import eventually

_ORIGINAL_DESTINATION = 80
"""SO_ORIGINAL_DST of linux/netfilter_ipv4.h: where a redirected connection was to go."""


class Socket(Computer):
    """A namespace whose cable ends at the host, not at the bridge, and bears no address yet.

    Args:
        name: of the namespace, and of the cable's end at the host.
        device: how the machine calls its end.
    """

    def __init__(self, name: str, address: str, device: str) -> None:
        super().__init__(name, address)
        self._device = device

    def make(self, bridge: str, laptop: str) -> None:
        """Make it, with a route to whom holds the address."""
        make_etc(self.name)
        ip("netns", "add", self.name)
        ip("-n", self.name, "link", "set", "lo", "up")
        peer = ("peer", "name", self._device, "netns", self.name, "address", mac(self.address))
        ip("link", "add", self.name, "type", "veth", *peer)
        ip("link", "set", self.name, "up")
        ip("address", "add", f"{laptop}/24", "dev", self.name, "noprefixroute")
        ip("route", "add", f"{self.address}/32", "dev", self.name)
        for device in (bridge, self.name):
            # Who is on one side finds the other, and is passed on by the host.
            for setting in ("forwarding", "proxy_arp"):
                Path("/proc/sys/net/ipv4/conf", device, setting).write_text("1")


def rules(
    table: str,
    groups: Mapping[str, Sequence[str]],
    services: Mapping[str, Sequence[str]],
    away: Iterable[str],
    *,
    metadata: int,
    way_out: int,
) -> str:
    """What nft is told.

    Args:
        table: its name; each cable's name begins with it.
        groups: the networks that may connect to port 443, by cable.
        services: the cables from which alone an address of the host is reached.
        away: addresses of the host that nobody reaches.
        metadata: the port of the metadata service on the host.
        way_out: the port of the way to the rest of the world.
    """
    chains = "\n".join(_group(cable, networks) for cable, networks in groups.items())
    jumps = ", ".join(f'"{cable}" : jump {cable}' for cable in groups)
    each = f"oifname vmap {{ {jumps} }}" if groups else ""
    guards = "\n".join(_guard(address, cables) for address, cables in services.items())
    to_nobody = "\n".join(f"ip daddr {address} counter drop" for address in away)
    from_nobody = "\n".join(f"ip saddr {address} counter drop" for address in away)
    return f"""
        table inet {table}
        delete table inet {table}
        table inet {table} {{
            {chains}
            chain passed_on {{
                type filter hook forward priority 0;
                {each}
            }}
            chain to_host {{
                type filter hook input priority 0;
                {to_nobody}
                {guards}
            }}
            chain from_host {{
                type filter hook output priority 0;
                {from_nobody}
                {each}
            }}
            chain from_machines {{
                type nat hook prerouting priority -100;
                iifname != "{table}-*" accept
                ip daddr {METADATA} tcp dport 80 redirect to :{metadata}
                ip daddr 10.78.0.0/16 accept
                meta l4proto tcp redirect to :{way_out}
            }}
        }}
    """


def _guard(address: str, cables: Sequence[str]) -> str:
    names = ", ".join(f'"{cable}"' for cable in cables)
    others = f"iifname != {{ {names} }}" if cables else ""
    return f"ip daddr {address} {others} counter drop"


def _group(cable: str, networks: Sequence[str]) -> str:
    allowed = ", ".join(network for network in networks if ":" not in network)
    rule = f"tcp dport 443 ip saddr {{ {allowed} }} accept" if allowed else ""
    return f"""
            chain {cable} {{
                ct state established,related accept
                udp sport 67 udp dport 68 accept
                {rule}
                counter drop
            }}
    """


class _WayOut(Server):
    """Passes on what machines say to the rest of the world, when it is there."""

    there = True


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        if not cast("_WayOut", self.server).there:
            return
        told = self.request.getsockopt(socket.SOL_IP, _ORIGINAL_DESTINATION, 16)
        port, address = struct.unpack("!2xH4s8x", told)
        try:
            there = socket.create_connection((socket.inet_ntoa(address), port), timeout=30)
        except OSError:
            return
        with there:
            pass_on(self.request, there)


class Wires:
    """The cables of a world's machines."""

    def __init__(self, net: Network, folder: Path, way_out: _WayOut) -> None:
        self._net = net
        self._folder = folder
        self._way_out = way_out
        self._groups: dict[str, Sequence[str]] = {}
        self._services: dict[str, Sequence[str]] = {}
        self._away: list[str] = []
        self._telling = Lock()
        self._dns: subprocess.Popen[bytes] | None = None
        self.metadata = 9
        """Port 9 discards: nobody answers before there is a metadata service."""
        for each in (self._leases, self._hosts):
            each.mkdir()

    def plug(self, address: str, device: str) -> Socket:
        """A socket for a machine; whoever has it must remove it."""
        made = self._net.start(lambda name: Socket(name, address, device))
        (self._leases / made.name).write_text(f"{mac(address)},{address}\n")
        self.let_in(made.name, [])
        return made

    def unplug(self, plugged: Computer) -> None:
        """Take the socket away, with all that runs in it."""
        plugged.remove()
        with self._changing():
            self._groups.pop(plugged.name, None)

    def let_in(self, cable: str, networks: Sequence[str]) -> None:
        """Set who may connect to port 443 of a machine; nobody may to another."""
        with self._changing():
            self._groups[cable] = networks

    def guard(self, address: str, cables: Sequence[str]) -> None:
        """Let nobody connect to an address of the host but machines, by their cables."""
        with self._changing():
            self._services[address] = cables

    @contextmanager
    def away(self, address: str) -> Iterator[None]:
        """Meanwhile all that is sent to an address of the host, or comes from it, gets lost."""
        with self._changing():
            self._away.append(address)
        try:
            yield
        finally:
            with self._changing():
                self._away.remove(address)

    def know(self, hosts: Mapping[str, str]) -> None:
        """Give names addresses, in all machines."""
        lines = "".join(f"{address} {name}\n" for name, address in hosts.items())
        (self._hosts / "names").write_text(lines)

    @contextmanager
    def without_the_rest_of_the_world(self) -> Iterator[None]:
        """Meanwhile machines reach their cloud, and no package mirror."""
        self._way_out.there = False
        try:
            yield
        finally:
            self._way_out.there = True

    def answer_names(self, domains: Mapping[str, str]) -> None:
        """Begin to work, before there is a cable: give addresses, tell names.

        Args:
            domains: addresses of whole domains, whatever the real world says of them.
        """
        log, output = self._folder / "dnsmasq.log", self._folder / "dnsmasq.txt"
        flags = [
            *("--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file="),
            *("--no-hosts", "--no-ping", "--dhcp-authoritative", "--leasefile-ro"),
            *("--bind-dynamic", f"--interface={self._net.bridge}-*", "--except-interface=lo"),
            f"--dhcp-range={self._net.whole.partition('/')[0]},static,255.255.255.0,1h",
            f"--dhcp-option=option:router,{self._net.laptop}",
            f"--dhcp-hostsdir={self._leases}",
            f"--hostsdir={self._hosts}",
            f"--log-facility={log}",
            "--log-dhcp",
            f"--address=/metadata.google.internal/{METADATA}",
            *(f"--address=/{domain}/{address}" for domain, address in domains.items()),
        ]
        with self._changing():
            pass  # only told: there is no cable yet
        self._dns = keeping.start(["dnsmasq", *flags], output)
        assert eventually(lambda: log.exists() and "started" in log.read_text()), output.read_text()

    def remove(self) -> None:
        """End what answers; cables go with their machines."""
        if self._dns is not None:
            keeping.end(self._dns)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Change what the rules are made from, and tell nft."""
        # What a cloud makes side by side must not be told in another order than it was written.
        with self._telling:
            yield
            text = rules(
                self._net.bridge,
                self._groups,
                self._services,
                self._away,
                metadata=self.metadata,
                way_out=self._way_out.server_port,
            )
            done = subprocess.run(
                ["nft", "-f", "-"], input=text, capture_output=True, text=True, check=False
            )
        assert done.returncode == 0, f"nft: {done.stderr}\n{text}"

    @property
    def _leases(self) -> Path:
        return self._folder / "leases"

    @property
    def _hosts(self) -> Path:
        return self._folder / "hosts"


@contextmanager
def wires(net: Network, folder: Path) -> Iterator[Wires]:
    """Cables of a network of tests; nothing of them is left afterwards."""
    with ExitStack() as stack:
        way_out = _WayOut((net.laptop, 0), _Handler)
        stack.enter_context(serving(way_out))
        made = Wires(net, folder, way_out)
        stack.callback(made.remove)
        yield made
