"""A Docker Engine of the tests' own: Debian 13's, over this computer's files, in its own network.

The daemon has process, mount and network namespaces. In them /usr and /etc are those of a Debian
with Docker in it and /run is empty; all else is this computer's, so that what a client wants to be
mounted into a container is where the client says. Nothing is installed here, and bridges, rules
and published ports are in that network only.
"""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TypeVar

import pytest

import keeping
from box.wires import Socket, wires
from compose.image import Docker, golden_docker
from engine.world.network import Network, ip, network
from kits import eventually

BASE = "trackstack-base:trixie"
"""A bare Debian 13 that knows the package mirrors which this computer uses."""
_PROGRAMS = {
    "dnsmasq": "dnsmasq-base",
    "flock": "util-linux",
    "mmdebstrap": "mmdebstrap",
    "nsenter": "util-linux",
}
_START_SECONDS = 60.0
_KEPT = "4GB"
"""How much of what was built stays for the next engine."""

# `ip netns exec` would hide the control groups.
_ENTER = """
set -eu
mount --bind "/etc/netns/$0/resolv.conf" /etc/resolv.conf
exec "$@"
"""
# Whoever had the store before may still be ending. Containers get the resolver that /etc names.
# containerd makes a folder in /opt, and Docker gives a kernel that has AppArmor a profile: neither
# comes to this computer.
_START = """
set -eu
root=$1 name=$2 store=$3 socket=$4
exec 9>"$store.used"
flock 9
mount --bind "/etc/netns/$name/resolv.conf" "$root/etc/resolv.conf"
mount --rbind "$root/etc" /etc
mount --bind "$root/usr" /usr
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir /run/opt /run/opt/upper /run/opt/work
mount -t overlay -o lowerdir=/opt,upperdir=/run/opt/upper,workdir=/run/opt/work overlay /opt
[ ! -e /sys/kernel/security ] || mount -t tmpfs -o ro tmpfs /sys/kernel/security
export PATH=/usr/sbin:/usr/bin
exec dockerd --data-root "$store" --host "unix://$socket" --cgroup-parent "/$name"
"""

_T = TypeVar("_T")


@dataclass
class Engine:
    """An engine that runs.

    Attributes:
        variables: what leads the docker command, with compose and buildx, to it; PATH among them.
        base: the only image that it has, to build others on.
        log: the file with all that it printed.
    """

    variables: dict[str, str]
    base: str
    log: Path
    _socket: Socket
    _start: "Callable[[], subprocess.Popen[bytes]]"
    _program: "subprocess.Popen[bytes] | None" = None

    @property
    def namespace(self) -> str:
        """The network in which published ports are reached."""
        return self._socket.name

    def command(self, *words: str | Path) -> list[str]:
        """How something is called as on the engine's host: its network and names, these files."""
        into = ["nsenter", f"--net=/run/netns/{self.namespace}", "unshare", "--mount"]
        return [*into, "sh", "-c", _ENTER, self.namespace, *map(str, words)]

    def inside(self, work: Callable[[], _T]) -> _T:
        """Call something whose connections begin on the engine's host."""
        return self._socket.inside(work)

    def docker(
        self, *words: str | Path, ok: bool = True, timeout: float = 300
    ) -> "subprocess.CompletedProcess[str]":
        """Run the docker command; with `ok`, it must end with 0."""
        done = subprocess.run(
            ["docker", *map(str, words)],
            env={**os.environ, **self.variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        told = f"docker {' '.join(map(str, words))} ended with {done.returncode}"
        assert not ok or done.returncode == 0, f"{told}:\n{done.stdout}\n{done.stderr}"
        return done

    def restart(self) -> None:
        """Kill it with all containers, as a host's power cut does, and start it again."""
        self.kill()
        self.start()

    def start(self) -> None:
        """Start it, with the containers that are to run whenever it does."""
        self._program = self._start()
        assert eventually(self._answers, _START_SECONDS), self.log.read_text()[-3000:]

    def kill(self) -> None:
        """End it at once, with all containers."""
        if self._program is not None:
            keeping.end(self._program)
            self._program = None

    def _answers(self) -> bool:
        assert self._program is not None
        ended = self._program.poll()
        assert ended is None, f"dockerd ended with {ended}: {self.log.read_text()[-3000:]}"
        return self.docker("version", ok=False).returncode == 0


@contextmanager
def docker_engine(folder: Path) -> Iterator[Engine]:
    """An engine without containers, volumes, networks and images but its base.

    Nothing of it is left afterwards but what it built, for engines to come. The test is skipped
    where there can be none.

    Args:
        folder: for its socket, its clients' settings and its log; made if need be.
    """
    if not (os.environ.get("CI") or os.environ.get("BOX") == "1"):
        pytest.skip("starts a Docker Engine of its own: set BOX=1 to run it")
    missing = [package for program, package in _PROGRAMS.items() if shutil.which(program) is None]
    if missing:
        pytest.skip(f"a Docker Engine needs the Debian packages {', '.join(missing)}")
    folder.mkdir(exist_ok=True)
    with (
        network() as net,
        golden_docker() as docker,
        _store(docker.stores) as store,
        wires(net, folder) as cables,
    ):
        cables.answer_names({})
        socket = cables.plug(net.address_of_machine(), "eth0")
        try:
            _connect(socket, net)
            engine = _engine(docker, folder, socket, store)
            try:
                _begin(engine, docker, store)
                yield engine
            finally:
                engine.kill()
        finally:
            cables.unplug(socket)


def _connect(socket: Socket, net: Network) -> None:
    ip("-n", socket.name, "address", "add", f"{socket.address}/24", "dev", "eth0")
    ip("-n", socket.name, "link", "set", "eth0", "up")
    ip("-n", socket.name, "route", "add", "default", "via", net.laptop)
    (socket.etc / "resolv.conf").write_text(f"nameserver {net.laptop}\n")


def _engine(docker: Docker, folder: Path, socket: Socket, store: Path) -> Engine:
    programs, plugins, log = folder / "bin", folder / "config/cli-plugins", folder / "dockerd.log"
    for each in (programs, plugins):
        each.mkdir(parents=True)
    (programs / "docker").symlink_to(docker.root / "usr/bin/docker")
    for plugin in (docker.root / "usr/libexec/docker/cli-plugins").iterdir():
        (plugins / plugin.name).symlink_to(plugin)
    at = folder / "docker.sock"
    variables = {
        "DOCKER_HOST": f"unix://{at}",
        "DOCKER_CONFIG": str(plugins.parent),
        "PATH": f"{programs}:{os.environ['PATH']}",
    }
    into = ["nsenter", f"--net=/run/netns/{socket.name}"]
    command = [*into, "sh", "-c", _START, "dockerd", docker.root, socket.name, store, at]
    return Engine(variables, BASE, log, socket, lambda: keeping.start(command, log))


def _begin(engine: Engine, docker: Docker, store: Path) -> None:
    """Start it, with nothing of who had the store before; a damaged store is made anew."""
    try:
        engine.start()
        _empty(engine)
    except (AssertionError, subprocess.TimeoutExpired):
        engine.kill()
        shutil.rmtree(store, ignore_errors=True)
        engine.start()
    if engine.docker("image", "inspect", BASE, ok=False).returncode != 0:
        engine.docker("import", docker.base, BASE)


def _empty(engine: Engine) -> None:
    def listed(*words: str) -> set[str]:
        return set(engine.docker(*words).stdout.split())

    if containers := listed("container", "ls", "--all", "--quiet"):
        engine.docker("container", "rm", "--force", "--volumes", *containers)
    if volumes := listed("volume", "ls", "--quiet"):
        engine.docker("volume", "rm", *volumes)
    # An image has several names, or none.
    names = listed("image", "ls", "--format", "{{.Repository}}:{{.Tag}}")
    if images := names - {BASE, "<none>:<none>"}:
        engine.docker("image", "rm", "--force", *images)
    for kind in ("network", "image"):
        engine.docker(kind, "prune", "--force")
    engine.docker("builder", "prune", "--force", "--keep-storage", _KEPT)


@contextmanager
def _store(stores: Path) -> Iterator[Path]:
    """A folder for what an engine keeps, and no other engine's meanwhile."""
    stores.mkdir(exist_ok=True)
    for number in count():
        # runc takes no path for a container's root that leads over a link.
        store = stores.resolve() / str(number)
        with (stores / f"{number}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield store
            return
