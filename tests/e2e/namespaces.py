"""Two computers in one: network namespaces with a cable between them, and names of their own.

The server's has ADDRESS; the clients' has PROXY and further addresses. They see nothing else, so
the same addresses serve every test at once.
"""

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from secrets import token_hex
from typing import TypeVar

import pytest

from engine.world.network import make_etc, remove_etc

ADDRESS = "10.78.0.1"
PROXY, NEAR, FAR = "10.78.0.2", "10.78.0.3", "10.78.0.4"
NAME, SECOND, PROXIED = "mlflow.test.example", "runs.test.example", "front.test.example"
HOSTS = f"127.0.0.1 localhost\n{ADDRESS} {NAME} {SECOND}\n{PROXY} {PROXIED}\n"

_CLONE_NEWNET = 0x40000000
T = TypeVar("T")


@dataclass(frozen=True)
class Namespaces:
    """The names of both."""

    server: str
    clients: str

    def as_client(self, work: Callable[[], T]) -> T:
        """Call something whose connections begin at a client."""
        # A thread of its own: its namespace ends with it.
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(self._inside, work).result()

    def _inside(self, work: Callable[[], T]) -> T:
        namespace = os.open(f"/run/netns/{self.clients}", os.O_RDONLY)
        try:
            library = ctypes.CDLL(None, use_errno=True)
            if library.setns(namespace, _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(namespace)
        return work()


def command_in(namespace: str) -> list[str]:
    """What to put before a command that is to run there."""
    return ["ip", "netns", "exec", namespace]


@contextmanager
def two_namespaces() -> Iterator[Namespaces]:
    """Both, with the cable; the test is skipped where they cannot be made."""
    if sys.platform != "linux" or os.getuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need Linux, root and the program ip (package iproute2)")
    mark = token_hex(3)
    made = Namespaces(f"ts-{mark}-s", f"ts-{mark}-c")
    try:
        for namespace in (made.server, made.clients):
            _ip("netns", "add", namespace)
            _ip("-n", namespace, "link", "set", "lo", "up")
            (make_etc(namespace) / "hosts").write_text(HOSTS)
        ends = (made.server, "cable", (ADDRESS,)), (made.clients, "cable", (PROXY, NEAR, FAR))
        peer = ("peer", "name", "cable", "netns", made.clients)
        _ip("-n", made.server, "link", "add", "cable", "type", "veth", *peer)
        for namespace, device, addresses in ends:
            for address in addresses:
                _ip("-n", namespace, "address", "add", f"{address}/24", "dev", device)
            _ip("-n", namespace, "link", "set", device, "up")
        yield made
    finally:
        for namespace in (made.server, made.clients):
            subprocess.run(["ip", "netns", "delete", namespace], capture_output=True, check=False)
            remove_etc(namespace)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0 and "not permitted" in done.stderr:
        pytest.skip(f"this computer does not let root make network namespaces: {done.stderr}")
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
