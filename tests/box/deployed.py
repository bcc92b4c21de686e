"""An environment in the box: a person's laptop, a machine that boots, and two clients' hosts."""

import json
import select
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import httpx

from box.guests import Guest
from box.machines import BootedMachines, booted
from engine.rooms import PROJECT
from engine.world.aws import AwsWorld, Laptop, aws_world
from engine.world.database import ManagedDatabase
from engine.world.gcp import GcpWorld, gcp_world
from engine.world.machines import Machine
from engine.world.network import Computer
from kits import seed_packages
from soak.load import Writer

NAME, USER = "team", "ada"
_CLIENTS = Path(__file__).parents[1] / "e2e"
_READ = "/api/2.0/mlflow/experiments/search?max_results=1"
_DEPLOY_SECONDS = 1200
_ANSWER_SECONDS = 1.0
_LEAST_MEGABYTES_A_SECOND = 5
_PATIENCE_SECONDS = 30.0
_ARTIFACT_SECONDS = 240.0
_WRITERS_SECONDS = 5.0


@dataclass(frozen=True)
class Box:
    """What stands in the box.

    Attributes:
        cloud: 'aws' or 'gcp'.
        inside: a host whose address is among those that are let in.
        outside: one whose is not.
        folder: of this box only.
    """

    cloud: str
    world: AwsWorld | GcpWorld
    laptop: Laptop
    inside: Computer
    outside: Computer
    folder: Path

    @property
    def allowed(self) -> list[str]:
        """The networks that the first deploy lets in."""
        return [f"{each}/32" for each in (self.world.network.laptop, self.inside.address)]

    @property
    def machines(self) -> BootedMachines:
        return cast("BootedMachines", self.world.machines)

    @property
    def guest(self) -> Guest:
        """The machine, from within."""
        return self.machines.guest()

    @property
    def machine(self) -> Machine:
        """The machine, as its cloud knows it."""
        (found,) = self.machines.all.values()
        return found

    def deploy(self, *more: str, ok: bool = True, **variables: str) -> str:
        """`trackstack deploy`, without a question; what was said."""
        done = self.try_deploy(*more, **variables)
        said = f"{done.stdout}\n{done.stderr}"
        assert (done.returncode == 0) is ok, f"{said}\n{self.console()}"
        return said

    def try_deploy(self, *more: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """As `deploy`, however it ends."""
        project = ("--project", PROJECT) if self.cloud == "gcp" else ()
        flags = ("-e", NAME, "--yes", *project, *more)
        return self.laptop.run(
            "deploy", self.cloud, *flags, ok=False, timeout=_DEPLOY_SECONDS, **variables
        )

    def first_deploy(self, *more: str, ok: bool = True) -> str:
        """The first one, which lets in this computer and the host inside."""
        allow = [f"--allow={each}" for each in self.allowed]
        said = self.deploy("--user", USER, *allow, *more, ok=ok)
        ended = sum(each.out_of_memory() for each in self.machines.guests.values())
        assert ended == 0, f"a first boot was short of memory: {ended} processes ended for it"
        return said

    def people(self, *words: str) -> str:
        """`trackstack users`, for one of them; their new password, when they got one."""
        file = self.folder / "password.txt"
        given = () if words[0] == "remove" else ("--password-file", file)
        self.laptop.run("users", *words, "-e", NAME, *given)
        if not given:
            return ""
        new = file.read_text().strip().partition(":")[2]
        file.unlink()
        return new

    def password(self) -> str:
        """The one that the first deploy made, as this laptop knows it."""
        return str(json.loads((self.laptop.folder(NAME) / "credentials.json").read_text())[USER])

    def console(self) -> str:
        """The end of all that machines printed, and of what the agents of those that run log."""
        logs = "tail -n 60 /var/lib/trackstack/machine/logs/agent.log"
        printed = [each.console[-4000:] for each in self.machines.all.values()]
        logged = [each.attempt(logs).stdout for each in self.machines.guests.values()]
        return "\n".join([*printed, *logged])

    def receipts(self) -> list[dict[str, Any]]:
        """What was proven, the oldest first."""
        found = sorted((self.laptop.folder(NAME) / "receipts").iterdir())
        return [json.loads(each.read_text()) for each in found]

    def status(self, user: str = USER, password: str | None = None) -> int:
        """What a client here gets that trusts only the environment's own authority."""
        with self.client(user, password) as client:
            return client.get(_READ).status_code

    def client(self, user: str = USER, password: str | None = None) -> httpx.Client:
        """A client here that logs in, trusts only that authority and waits half a minute."""
        return httpx.Client(
            base_url=self.url,
            auth=(user, password or self.password()),
            verify=self.trusts(),
            trust_env=False,
            timeout=_PATIENCE_SECONDS,
        )

    @property
    def url(self) -> str:
        return f"https://{self.machine.address}"

    def trusts(self) -> ssl.SSLContext:
        """The environment's own authority, as this laptop knows it, and no other."""
        return ssl.create_default_context(cafile=self.laptop.folder(NAME) / "ca.pem")

    def writer(self) -> Writer:
        """Who logs here, and gives up on what is not answered in a few seconds."""
        login = USER, self.password()
        made = Writer(self.url, login, trusts=self.trusts(), patience=_WRITERS_SECONDS)
        made.begin()
        return made

    def serves(self) -> bool:
        """Whether MLflow answers to whom logs in."""
        try:
            return self.status() == 200
        except httpx.TransportError:
            return False

    def patches(self) -> dict[str, Any]:
        """What `trackstack status` says of the machine's updates, as they are now."""
        # Its next report would come within a minute; for a user's time it comes at once.
        self.laptop.run("users", "add", "nobody", "-e", NAME, "--show-passwords")
        self.laptop.run("users", "remove", "nobody", "-e", NAME)
        told: dict[str, Any] = json.loads(self.laptop.run("status", "-e", NAME, "--json").stdout)[
            "patches"
        ]
        return told

    def has_run(self, run: str) -> bool:
        """Whether a run is there, as a client here finds."""
        with self.client() as client:
            return client.get(f"/api/2.0/mlflow/runs/get?run_id={run}").is_success

    def artifact(
        self, logged: Mapping[str, Any], patience: float = _ARTIFACT_SECONDS
    ) -> httpx.Response:
        """What a client here gets that asks for the artifact which `mlflow_client` logged."""
        folder = urlsplit(logged["address"]).path
        with self.client() as client:
            place = f"/api/2.0/mlflow-artifacts/artifacts{folder}/folder/sent.bin"
            return client.get(place, timeout=patience)

    def workers(self) -> int:
        """How many processes of MLflow's the machine runs, by what they are started with."""
        started = self.guest.run("pgrep -a -o -f uvicorn").split()
        return int(started[started.index("--workers") + 1])

    def file_system(self) -> str:
        """The identity of the data disk's; a disk that is formatted gets another."""
        device = "$(findmnt --noheadings --output SOURCE /var/lib/trackstack)"
        return self.guest.run(f"blkid -p -s UUID -o value {device}").strip()

    def has_bucket(self, name: str) -> bool:
        """Whether a bucket is there, by the double that keeps it."""
        if isinstance(self.world, AwsWorld):
            found = self.world.client("s3").list_buckets()["Buckets"]
            return name in {each["Name"] for each in found}
        return httpx.get(f"{self.world.url}/storage/v1/b/{name}", trust_env=False).is_success

    @property
    def database(self) -> ManagedDatabase:
        """The cloud's PostgreSQL."""
        (found,) = self.world.databases.values()
        return found

    def lose_the_machine(self) -> None:
        """Somebody deletes it by the cloud's own means; its address and its volume stay."""
        machine = self.machine
        things = self.world.cloud.things
        for kind, name in list(things):
            if kind.endswith(".Instance") or kind == "ec2.VolumeAttachment":
                del things[kind, name]
        self.machines.remove(machine.id)

    def start_again(self) -> None:
        """Switch the machine on, as its cloud does after a failure of its host."""
        self.machines.start(self.machine)
        self.machines.let_in(self.machine.id, self.allowed)

    def mlflow_client(self, megabytes: int = 1) -> dict[str, Any]:
        """What the real client sees on the host inside that logs a run with an artifact.

        It has MLflow as it comes, and of the environment what `trackstack env` tells.
        """
        program, variables = self._client(_CLIENTS / "round_trip.py", str(megabytes))
        patience = 60 + megabytes / _LEAST_MEGABYTES_A_SECOND
        done = self.inside.run(*program, environment=variables, timeout=patience)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return seen

    @contextmanager
    def at_work(self) -> Iterator[dict[str, Any]]:
        """Meanwhile somebody on the host inside works; afterwards, what loyal_client.py says."""
        program, variables = self._client(_CLIENTS / "loyal_client.py")
        noticed: dict[str, Any] = {}
        with subprocess.Popen(
            ["ip", "netns", "exec", self.inside.name, *program],
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as client:
            assert client.stdout is not None
            try:
                begun = client.stdout.readline()
                assert begun == "begun\n", f"{begun}{client.communicate()[1]}"
                yield noticed
            finally:
                said, problems = client.communicate(timeout=60)
        assert client.returncode == 0, problems
        noticed.update(json.loads(said))

    def _client(self, *program: str | Path) -> tuple[list[str | Path], dict[str, str]]:
        """How a program of a client's is called, and its whole environment."""
        home = self.folder / "client"
        if not home.is_dir():
            home.mkdir()
            seed_packages(home)
        (packages,) = (home / "packages").iterdir()
        told = json.loads(self.laptop.run("env", "-e", NAME, "--json").stdout)
        variables = {"PATH": "/usr/sbin:/usr/bin:/bin", "HOME": str(home), **told}
        return ["env", f"--chdir={home}", packages / "bin" / "python", *program], variables


def answering(computer: Computer, address: str, ports: Sequence[int]) -> list[int]:
    """The ports of an address at which somebody answers a computer, if only to refuse."""
    # So many at a time as a process may have open.
    several = [ports[n : n + 500] for n in range(0, len(ports), 500)]
    return [
        port for some in several for port in computer.inside(partial(_answering, address, some))
    ]


def _answering(address: str, ports: Sequence[int]) -> list[int]:
    with ExitStack() as stack:
        tried = {}
        for port in ports:
            probe = stack.enter_context(socket.socket())
            probe.setblocking(False)
            probe.connect_ex((address, port))
            tried[probe.fileno()] = port
        poll = select.poll()
        for number in tried:
            poll.register(number, select.POLLOUT)
        answered: set[int] = set()
        # A packet that is dropped says nothing, however long one waits.
        until = time.monotonic() + _ANSWER_SECONDS
        while (left := until - time.monotonic()) > 0:
            for number, _ in poll.poll(left * 1000):
                answered.add(tried[number])
                poll.unregister(number)
    return sorted(answered)


@contextmanager
def box(cloud: str, folder: Path) -> Iterator[Box]:
    """Everything but the deploy; nothing is left of it afterwards.

    Args:
        cloud: 'aws' or 'gcp'.
        folder: of this box only.
    """
    with ExitStack() as stack:
        world: AwsWorld | GcpWorld = (
            stack.enter_context(aws_world(folder / cloud, hardware=booted))
            if cloud == "aws"
            else stack.enter_context(gcp_world(folder / cloud, hardware=booted))
        )
        inside, outside = (
            stack.enter_context(world.network.computer(world.network.address_of_client()))
            for _ in range(2)
        )
        yield Box(cloud, world, world.laptop(folder / "laptop"), inside, outside, folder)
