"""A network on this computer that machines hang on: a bridge, with a namespace per machine.

Addresses of a network 10.78.N.0/24: .1 is this computer, the laptop; .2 and up are further ones
of this computer, such as a stranger's and the databases'; .64 and up are clients' of their own;
.128 and up are the machines'.
"""

import ctypes
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from random import SystemRandom
from threading import Lock
from typing import TypeVar

import psutil
import pytest

from kits import content_of

_CLONE_NEWNET = 0x40000000
_STOP_SECONDS = 10.0
_ETC = Path("/etc/netns")
_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_MARK = "a test of process"
"""Who a bridge is of; the number of the process follows."""
OWNER = "TRACKSTACK_TEST_OWNER"
"""The variable that tells the process of tests in all that it starts: its number, and where that
number counts."""

_T = TypeVar("_T")
_C = TypeVar("_C", bound="Computer")


class Network:
    """A bridge with addresses of its own.

    Attributes:
        number: the N of 10.78.N.0/24.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.bridge = f"ts-{number}"
        self._here = itertools.count(2)
        self._clients = itertools.count(64)
        self._machines = itertools.count(128)
        self._computers = itertools.count(1)
        self._lock = Lock()

    @property
    def laptop(self) -> str:
        """This computer's address."""
        return f"10.78.{self.number}.1"

    @property
    def whole(self) -> str:
        """All of its addresses."""
        return f"10.78.{self.number}.0/24"

    @property
    def machines(self) -> str:
        """The network that machines' addresses are of."""
        return f"10.78.{self.number}.128/25"

    def address_here(self) -> str:
        """One more address of this computer, which machines can reach and be reached from."""
        with self._lock:
            address = f"10.78.{self.number}.{next(self._here)}"
        ip("address", "add", f"{address}/24", "dev", self.bridge)
        return address

    def address_of_client(self) -> str:
        """An address for a computer that is neither this one nor a cloud's."""
        with self._lock:
            return f"10.78.{self.number}.{next(self._clients)}"

    def address_of_machine(self) -> str:
        """An address that no machine had before."""
        with self._lock:
            return f"10.78.{self.number}.{next(self._machines)}"

    @contextmanager
    def computer(self, address: str) -> Iterator["Computer"]:
        """A namespace with an address; its processes are gone afterwards."""
        made = self.start_computer(address)
        try:
            yield made
        finally:
            made.remove()

    def start_computer(self, address: str) -> "Computer":
        """A namespace with an address; whoever starts it must remove it."""
        return self.start(lambda name: Computer(name, address))

    def start(self, kind: "Callable[[str], _C]") -> "_C":
        """Make a computer of some kind under a name of its own; who starts it must remove it."""
        with self._lock:
            number = next(self._computers)
        made = kind(f"{self.bridge}-{number}")
        try:
            made.make(self.bridge, self.laptop)
        except BaseException:
            made.remove()
            raise
        return made


class Computer:
    """A network namespace: what runs in it sees the bridge only, and has its own names.

    Attributes:
        name: of the namespace; its device on the bridge is called so too.
    """

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address
        self._children: list[subprocess.Popen[bytes]] = []

    def make(self, bridge: str, laptop: str) -> None:
        """Make it, with its cable."""
        make_etc(self.name)
        self.know({})
        # Nobody answers there, and at once: a name that is not known costs no time.
        (self.etc / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        ip("netns", "add", self.name)
        ip("-n", self.name, "link", "set", "lo", "up")
        peer = ("peer", "name", "cable", "netns", self.name)
        ip("link", "add", self.name, "type", "veth", *peer)
        ip("link", "set", self.name, "master", bridge, "up")
        ip("-n", self.name, "address", "add", f"{self.address}/24", "dev", "cable")
        ip("-n", self.name, "link", "set", "cable", "up")
        # The rest of the world: nobody answers there, but it is not 'network is unreachable'.
        ip("-n", self.name, "route", "add", "default", "via", laptop)

    def know(self, hosts: Mapping[str, str]) -> None:
        """Give names addresses, for what runs already too."""
        lines = [f"{address} {name}\n" for name, address in hosts.items()]
        # Into the same file: it is mounted over /etc/hosts.
        (self.etc / "hosts").write_text("127.0.0.1 localhost\n" + "".join(lines))

    def let_in(self, networks: Sequence[str], port: int = 443) -> None:
        """Let in connections to a port from these networks, and no others at all."""
        run = ["ip", "netns", "exec", self.name, "nft", "-f", "-"]
        allowed = ", ".join(network for network in networks if ":" not in network)
        rule = f"tcp dport {port} ip saddr {{ {allowed} }} accept" if allowed else ""
        text = f"""
            table inet cloud
            delete table inet cloud
            table inet cloud {{
                chain in {{
                    type filter hook input priority 0; policy drop;
                    iif lo accept
                    ct state established,related accept
                    {rule}
                }}
            }}
        """
        done = subprocess.run(run, input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"nft: {done.stderr}\n{text}"

    def start(
        self, command: Sequence[str | Path], environment: Mapping[str, str], output: Path
    ) -> "subprocess.Popen[bytes]":
        """Start a program here, in a process group of its own."""
        with output.open("ab") as log:
            child = subprocess.Popen(
                ["ip", "netns", "exec", self.name, *command],
                env=dict(environment),
                cwd=output.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._children.append(child)
        return child

    def run(
        self, *command: str | Path, environment: Mapping[str, str], timeout: float = 60
    ) -> "subprocess.CompletedProcess[str]":
        """Run a program here to its end."""
        return subprocess.run(
            ["ip", "netns", "exec", self.name, *command],
            env=dict(environment),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def pids(self) -> list[int]:
        """Of all that runs here, whoever started it."""
        done = subprocess.run(
            ["ip", "netns", "pids", self.name], capture_output=True, text=True, check=False
        )
        return [int(pid) for pid in done.stdout.split()]

    def end_all(self, kindly: bool = True) -> None:
        """End all that runs here, as a shutdown does; or at once, as a power cut."""
        for pid in self.pids() if kindly else []:
            _signal(pid, signal.SIGTERM)
        until = time.monotonic() + _STOP_SECONDS
        while kindly and self.pids() and time.monotonic() < until:
            time.sleep(0.05)
        while left := self.pids():
            for pid in left:
                _signal(pid, signal.SIGKILL)
            time.sleep(0.02)
        while self._children:
            self._children.pop().wait()

    def remove(self) -> None:
        """Remove it with all that runs in it; fine when it is gone."""
        self.end_all(kindly=False)
        subprocess.run(["ip", "netns", "delete", self.name], capture_output=True, check=False)
        # Its other end goes with the namespace, but some time later.
        subprocess.run(["ip", "link", "delete", self.name], capture_output=True, check=False)
        _remove_groups(self.name)
        remove_etc(self.name)

    def inside(self, work: Callable[[], _T]) -> _T:
        """Call something whose connections begin here."""
        # A thread of its own: its namespace ends with it.
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(self._entered, work).result()

    def _entered(self, work: Callable[[], _T]) -> _T:
        namespace = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            library = ctypes.CDLL(None, use_errno=True)
            if library.setns(namespace, _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(namespace)
        return work()

    @property
    def etc(self) -> Path:
        """What /etc is for what runs here."""
        return _ETC / self.name


@contextmanager
def network() -> Iterator[Network]:
    """A network that nobody else has; the test is skipped where none can be made."""
    missing = [program for program in ("ip", "nft") if shutil.which(program) is None]
    if sys.platform != "linux" or os.getuid() != 0 or missing:
        pytest.skip(
            "a cloud's machines need Linux, root and the programs ip and nft "
            "(packages iproute2 and nftables)"
        )
    _remove_forgotten()
    os.environ[OWNER] = f"{os.getpid()} {_numbers_here()}"
    made = _free_network()
    try:
        ip("link", "set", made.bridge, "alias", f"{_MARK} {os.getpid()}")
        ip("address", "add", f"{made.laptop}/24", "dev", made.bridge)
        ip("link", "set", made.bridge, "up")
        yield made
    finally:
        _remove(made.bridge)


def _remove_forgotten() -> None:
    """Remove the networks of tests that were killed, with all that they started."""
    left = [each for each in psutil.process_iter() if _is_forgotten(each)]
    for process in left:
        _signal(process.pid, signal.SIGKILL)
    psutil.wait_procs(left, timeout=_STOP_SECONDS)
    for alias in Path("/sys/class/net").glob("ts-*/ifalias"):
        mark, _, owner = content_of(alias).decode().strip().rpartition(" ")
        if mark == _MARK and not Path("/proc", owner).exists():
            _remove(alias.parent.name)


def _is_forgotten(process: psutil.Process) -> bool:
    """Whether the process of tests that started it is gone."""
    try:
        owner, _, numbers = process.environ().get(OWNER, "").partition(" ")
    except psutil.Error:
        return False
    return numbers == _numbers_here() and not Path("/proc", owner).exists()


def _numbers_here() -> str:
    """Which processes' numbers are meant: another container has others."""
    return str(Path("/proc/self/ns/pid").readlink())


def _remove(bridge: str) -> None:
    """Remove a network with all that bears its name; fine when parts of it are gone."""
    for namespace in Path("/run/netns").glob(f"{bridge}-*"):
        Computer(namespace.name, "").remove()
    for command in (["nft", "delete", "table", "inet", bridge], ["ip", "link", "delete", bridge]):
        subprocess.run(command, capture_output=True, check=False)


def make_etc(namespace: str) -> Path:
    """Make the folder with what /etc is for what runs in a namespace."""
    made = _ETC / namespace
    while True:
        # Whoever has the last one takes away the folder of all, maybe right now.
        with suppress(FileNotFoundError):
            made.mkdir(parents=True)
            return made


def remove_etc(namespace: str) -> None:
    """Remove that folder, and the folder of all with the last one; fine when they are gone."""
    shutil.rmtree(_ETC / namespace, ignore_errors=True)
    with suppress(OSError):
        _ETC.rmdir()


def mac(address: str) -> str:
    """The hardware address of the machine with an address."""
    return ":".join(f"{part:02x}" for part in (2, 1, *ip_address(address).packed))


def control_groups(name: str) -> list[Path]:
    """The places of a control group of this name, one in each hierarchy that this computer has."""
    hierarchies = [_CONTROL_GROUPS, *_CONTROL_GROUPS.iterdir()]
    return [each / name for each in hierarchies if (each / "cgroup.procs").exists()]


def _remove_groups(name: str) -> None:
    for group in control_groups(name):
        for folder, _, _ in os.walk(group, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()


def _free_network() -> Network:
    """Who makes the bridge of a number has the number."""
    for number in SystemRandom().sample(range(1, 255), 254):
        made = Network(number)
        done = subprocess.run(
            ["ip", "link", "add", made.bridge, "type", "bridge"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return made
        if "exists" not in done.stderr:
            pytest.skip(f"this computer does not let root make networks: {done.stderr}")
    raise AssertionError("all networks of this computer are taken: remove old bridges ts-*")


def _signal(pid: int, sent: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, sent)


def ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
