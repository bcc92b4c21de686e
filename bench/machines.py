"""A cloud's machine from power-on, beside the tutorial's on the same Debian.

Both boot in the box, one after the other, from the same root, as the same machine with blank disks.
"""

import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import httpx

from bench import copies, tutorial
from bench.client import Client, Login, Place
from bench.figures import Sample
from bench.load import median_time, p50, throughput
from bench.rotation import REFUSED
from box.deployed import NAME, USER, Box, box
from kits import eventually

MACHINE = "e2-medium"
"""The tutorial runs out of memory with eight clients on the smaller one that is ours by default."""
PORT = 443
ROTATIONS = 20
ALLOWED_SECONDS = 15.0
"""How long a rotation may take from the command until it holds."""
CLIENTS = 8
SECONDS = 5.0
GIVE_UP_SECONDS = 600.0
REBOOT_SECONDS = 120.0
LOOK_SECONDS = 10.0
"""A machine is idle when its memory has hardly changed in this time."""
USERS, RUNS, PAGE, KEYS, STEPS = 1_000, 10_000, 100, 10, 10
_DATABASE = "/var/lib/trackstack/machine/data/mlflow.db"


@dataclass(frozen=True)
class Server:
    """One that was booted.

    Attributes:
        url: of its first page.
        place: with its authority, if it has one.
    """

    url: str
    place: Place
    login: Login

    def client(self) -> Client:
        return Client(self.place, self.login)


def machines(folder: Path, rounds: int) -> Iterator[Sample]:
    """Each machine once a round, and rotations on the last; needs root."""
    people = [f"member-{number}" for number in range(USERS)]
    with box("gcp", folder / "machines") as deployed:
        deployed.first_deploy("--machine", MACHINE)
        user_data = deployed.machine.user_data
        for _ in range(rounds):
            theirs = _measured(deployed, _tutorials(deployed), tutorial.START_SCRIPT)
            server = _ours(deployed)
            ours = _measured(deployed, server, user_data)
            for goal, value in ours.items():
                yield Sample(goal, value, theirs[goal])
            yield Sample("replacement", _replacement(deployed, server), theirs["first-boot"])
            yield from _filled(deployed, server, people)
        took = [_rotation(deployed, folder) for _ in range(ROTATIONS)]
        yield Sample("edge", statistics.median(took), ALLOWED_SECONDS)
        yield Sample("edge-worst", max(took), ALLOWED_SECONDS)


def _ours(deployed: Box) -> Server:
    authorities = deployed.laptop.folder(NAME) / "ca.pem"
    place = Place(deployed.machine.address, PORT, authorities=authorities)
    return Server(f"{deployed.url}/", place, Login(USER, deployed.password()))


def _tutorials(deployed: Box) -> Server:
    place = Place(deployed.machine.address, tutorial.PORT)
    url = f"http://{place.host}:{place.port}/"
    return Server(url, place, Login(tutorial.USER, tutorial.PASSWORD))


def _measured(deployed: Box, server: Server, user_data: str) -> dict[str, float]:
    began = _boot_anew(deployed, user_data)
    _wait_for_page(server)
    first_boot = time.monotonic() - began
    if server.place.authorities is not None:
        # Each first boot makes another authority; this command reads it.
        deployed.laptop.run("env", "-e", NAME, "--json")
    memory = _megabytes_at_idle(deployed)

    def alone() -> float:
        with server.client() as client:
            return p50(client, SECONDS)

    return {
        "first-boot": first_boot,
        "machine-memory": memory,
        "machine-latency": deployed.inside.inside(alone) * 1000,
        # The threads that it starts are in the namespace of the one that starts them.
        "machine-throughput": deployed.inside.inside(
            lambda: throughput(server.client, CLIENTS, SECONDS)
        ),
        "reboot": _reboot(deployed, server),
    }


def _boot_anew(deployed: Box, user_data: str) -> float:
    """Give the machine another root and a blank disk, and switch it on; when that was."""
    machine = deployed.machine
    deployed.machines.stop(machine, kindly=False)
    for part in ("upper", "work", "root"):
        shutil.rmtree(machine.folder / part)
    for volume in machine.volumes:
        (deployed.machines.volume(volume) / "disk").unlink()
    machine.user_data = user_data
    began = time.monotonic()
    deployed.start_again()
    return began


def _wait_for_page(server: Server) -> None:
    """Wait for MLflow's own first page; Debian's first page of nginx is an answer too."""
    login = (server.login.user, server.login.password)

    def comes() -> bool:
        try:
            answer = client.get(server.url)
        except httpx.TransportError:
            return False
        return answer.is_success and "MLflow" in answer.text

    with httpx.Client(auth=login, verify=False, trust_env=False, timeout=5) as client:  # noqa: S501
        _wait(comes, GIVE_UP_SECONDS, f"{server.url} never came up")


def _wait(condition: Callable[[], bool], seconds: float, problem: str) -> None:
    if not eventually(condition, seconds):
        raise TimeoutError(problem)


def _reboot(deployed: Box, server: Server) -> float:
    """Seconds from the command to boot again until the page comes."""
    guest = deployed.guest
    before = guest.leader()
    began = time.monotonic()
    guest.run("systemctl reboot")
    _wait(lambda: guest.leader() not in (None, before), REBOOT_SECONDS, "it never ended")
    _wait_for_page(server)
    return time.monotonic() - began


def _replacement(deployed: Box, server: Server) -> float:
    """Seconds from the loss of the machine until another one serves, with a deploy at once."""
    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        deployed.lose_the_machine()
        deploy = pool.submit(deployed.deploy, "--refresh")
        _wait_for_page(server)
        took = time.monotonic() - began
        deploy.result()
    return took


def _megabytes_at_idle(deployed: Box) -> float:
    now = _megabytes(deployed)
    while True:
        before = now
        time.sleep(LOOK_SECONDS)
        now = _megabytes(deployed)
        if abs(now - before) < before / 100:
            return now


def _megabytes(deployed: Box) -> float:
    """Memory of all that runs in the machine; what several share is shared out."""
    told = deployed.guest.run("cat /proc/[0-9]*/smaps_rollup 2>/dev/null | grep ^Pss: || true")
    return sum(int(line.split()[1]) for line in told.splitlines()) * 1024 / 1e6


def _filled(deployed: Box, server: Server, people: Sequence[str]) -> Iterator[Sample]:
    """Empty, with a page of runs, and full: one machine, one after the other."""
    there = deployed.inside.inside

    def prepare() -> str:
        with server.client() as client:
            return client.new_experiment("full")

    experiment = there(prepare)

    def search() -> float:
        with server.client() as client:
            return 1000 * median_time(lambda _: client.newest_runs(experiment, PAGE), SECONDS)

    def log() -> float:
        with server.client() as client:
            return 1000 * p50(client, SECONDS)

    def log_a_page() -> list[str]:
        with server.client() as client:
            runs = [client.new_run(experiment) for _ in range(PAGE)]
            for run in runs:
                client.log_metrics(run, KEYS, STEPS)
            return runs

    empty_log, empty_search = there(log), there(search)
    runs = there(log_a_page)
    page_search = there(search)
    program = Path(copies.__file__).read_text()
    arguments = f"{_DATABASE} {RUNS // PAGE - 1} {' '.join(runs)}"
    deployed.guest.run(f"python3 - {arguments} <<'END'\n{program}\nEND")
    passwords = deployed.folder / "passwords"
    deployed.laptop.run("users", "add", *people, "-e", NAME, "--password-file", passwords)
    full_search = there(search)
    yield Sample("full-log", there(log), empty_log)
    yield Sample("full-search", full_search, empty_search)
    yield Sample("full-page", full_search, page_search)
    deployed.laptop.run("users", "remove", *people, "-e", NAME)


def _rotation(deployed: Box, folder: Path) -> float:
    """Seconds of the command, which ends when the machine says that the new password holds."""
    old = deployed.password()
    began = time.monotonic()
    deployed.laptop.run("users", "rotate", USER, "-e", NAME, "--password-file", folder / "password")
    took = time.monotonic() - began
    if deployed.status() != HTTPStatus.OK or deployed.status(password=old) not in REFUSED:
        raise ValueError("a rotation that was said to hold does not")
    return took
