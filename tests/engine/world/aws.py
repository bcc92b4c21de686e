"""An AWS account around a program that deploys."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import httpx

from engine.cloud import Action, Cloud, Thing
from engine.provider import served
from engine.rooms import a_cloud, program
from engine.world import policies
from engine.world.aws_answers import aws_answers
from engine.world.bucket_mirror import bucket_mirror
from engine.world.database import ManagedDatabase
from engine.world.front import ADDRESS_PAGE, Front, answering
from engine.world.identities import Identities, Identity
from engine.world.imds import credentials, metadata_service
from engine.world.machines import INHERITED, Hardware, Machine, Machines
from engine.world.network import Network, mac, network
from engine.world.serving import way_out
from kits import CACHE, Kit, free_port

_START_SECONDS = 30.0
_MOTO = """
import os, sys, threading
from moto.s3.models import FakeKey
from moto.server import main

stored = FakeKey.value

def read(key):
    if "whole" not in vars(key):
        key.whole = stored.fget(key)
    return key.whole

def write(key, content):
    vars(key).pop("whole", None)
    stored.fset(key, content)

# Else it reads the whole object from its file for each range of it that a client asks for.
FakeKey.value = property(read, write)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
main(sys.argv[1:])
"""
"""moto, until its input ends: with the test, even one that is killed."""


@dataclass(frozen=True)
class Laptop(Kit):
    """The command on a computer with keys of the account, and with nothing else.

    Attributes:
        variables: the whole environment.
    """

    variables: Mapping[str, str]

    @property
    def environment(self) -> dict[str, str]:
        return dict(self.variables)


class AwsWorld:
    """The account, as it stands around the program.

    Attributes:
        cloud: what the program made; trouble is made here.
        front: the address that clients talk to, with all calls written down.
        machines: those that run, and their volumes.
        databases: those that run, by the ARN of their secret.
        deployer: who may do everything.
        seconds: how long something takes beyond what it takes here, by action and kind.
    """

    def __init__(
        self,
        folder: Path,
        *,
        cloud: Cloud,
        net: Network,
        front: Front,
        machines: Machines,
        provider: int,
    ) -> None:
        self.cloud = cloud
        self.network = net
        self.front = front
        self.machines = machines
        self.databases: dict[str, ManagedDatabase] = {}
        self.seconds: dict[tuple[Action, str], float] = {}
        self.deployer = self.person("deployer", policies.EVERYTHING)
        self._folder = folder
        self._provider = provider
        self._hosts: dict[str, str] = {}
        self._started: dict[str, tuple[str, str]] = {}
        self._sessions: dict[str, Identity] = {}

    # Who asks

    def person(self, name: str, *documents: str) -> Identity:
        """A user whose policies are these; none permits nothing."""
        return self.front.identities.user(name, lambda: policies.statements(*documents))

    def signed_in(self, *documents: str) -> Identity:
        """A session in a role, as single sign-on gives one; `expired` may be set."""
        everything = documents or (policies.EVERYTHING,)
        said = policies.statements(*everything)
        return self.front.identities.session("Administrator", "ada", lambda: said)

    def environment(self, home: Path, who: Identity | None = None) -> dict[str, str]:
        """All variables of a laptop: nothing else is needed, and nothing else is there.

        Args:
            home: an empty folder, or the one of a run before.
            who: whose keys; the deployer's when None.
        """
        home.mkdir(parents=True, exist_ok=True)
        return {
            **{k: v for k, v in os.environ.items() if k.startswith(INHERITED)},
            "PATH": f"{program().parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/bin",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "NO_COLOR": "1",
            "TRACKSTACK_HOME": str(home / "trackstack"),
            "TRACKSTACK_ADDRESS_URL": f"{self.front.url}{ADDRESS_PAGE}",
            "UV_CACHE_DIR": str(CACHE / "uv"),
            "AWS_ENDPOINT_URL": self.front.url,
            "AWS_REGION": self.cloud.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            **(who or self.deployer).variables,
            "PULUMI_DEBUG_PROVIDERS": f"aws:{self._provider}",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }

    def laptop(self, home: Path, who: Identity | None = None) -> Laptop:
        """The command, run with that environment; see Kit."""
        variables = self.environment(home, who)
        return Laptop(Path(variables["TRACKSTACK_HOME"]), 443, variables)

    def client(self, service: str, who: Identity | None = None) -> Any:
        """Amazon's own client, as somebody."""
        return _client(service, self.front.url, self.cloud.region, who or self.deployer)

    # What is there

    def machine(self) -> Machine:
        """The only machine there is."""
        (found,) = self.machines.all.values()
        return found

    def rotate_master_secret(self) -> None:
        """Give every database's master another password, as RDS does each week."""
        for database in self.databases.values():
            database.set_password(f"rotated-{self.cloud.number()}")

    def secrets(self) -> list[str]:
        """All that must be in no log, state or message."""
        keys = [self.deployer.secret, *(each.secret for each in self._sessions.values())]
        return [*keys, *(database.password for database in self.databases.values())]

    def unused_permissions(self) -> list[tuple[str, str]]:
        """What the machines' roles allow and no machine has done so far."""
        roles = {role for each in self.cloud.of("ec2.Instance") if (role := self._role(each))}
        return [
            each
            for role in sorted(roles)
            for each in policies.unused(
                policies.statements(*self._role_policies(role)),
                [
                    action
                    for call in self.front.calls_of(f"/{role}/")
                    if not call.refused
                    for action in call.actions
                ],
            )
        ]

    # What the machines are told

    def metadata(self, address: str) -> Mapping[str, str] | None:
        """What the machine with an address may know."""
        machine = self.machines.at(address)
        thing = self.cloud.things.get(("ec2.Instance", machine.id)) if machine else None
        if machine is None or thing is None:
            return None
        zone = f"{self.cloud.region}a"
        name = f"ip-{machine.address.replace('.', '-')}.{self.cloud.region}.compute.internal"
        interface = f"meta-data/network/interfaces/macs/{mac(machine.address)}"
        known = {
            "user-data": machine.user_data,
            "meta-data/ami-id": str(thing.inputs["ami"]),
            "meta-data/hostname": name,
            "meta-data/instance-id": machine.id,
            "meta-data/instance-type": str(thing.inputs["instanceType"]),
            "meta-data/local-hostname": name,
            "meta-data/local-ipv4": machine.address,
            "meta-data/mac": mac(machine.address),
            "meta-data/public-ipv4": machine.address,
            f"{interface}/device-number": "0",
            f"{interface}/local-ipv4s": machine.address,
            f"{interface}/mac": mac(machine.address),
            f"{interface}/subnet-ipv4-cidr-block": self.network.whole,
            f"{interface}/vpc-ipv4-cidr-block": self.network.whole,
            "meta-data/placement/availability-zone": zone,
            "meta-data/placement/region": self.cloud.region,
            "dynamic/instance-identity/document": json.dumps(
                {
                    "accountId": self.cloud.account,
                    "instanceId": machine.id,
                    "region": self.cloud.region,
                    "availabilityZone": zone,
                }
            ),
        }
        role = self._role(thing)
        if role is None:
            return known
        expires = datetime.now(UTC) + timedelta(hours=6)
        return {
            **known,
            f"meta-data/iam/security-credentials/{role}": credentials(
                self._session(role, machine.id).variables, f"{expires:%Y-%m-%dT%H:%M:%SZ}"
            ),
        }

    def _role(self, instance: Thing) -> str | None:
        profile = self.cloud.things.get(
            ("iam.InstanceProfile", str(instance.inputs.get("iamInstanceProfile")))
        )
        return str(profile.inputs["role"]) if profile else None

    def _session(self, role: str, machine: str) -> Identity:
        if machine not in self._sessions:
            self._sessions[machine] = self.front.identities.session(
                role, machine, lambda: policies.statements(*self._role_policies(role))
            )
        return self._sessions[machine]

    def _role_policies(self, role: str) -> list[str]:
        return [
            str(each.inputs["policy"])
            for each in self.cloud.of("iam.RolePolicy")
            if each.inputs["role"] == role
        ]

    # What happens when the program makes something

    def listen(self, action: Action, thing: Thing) -> None:
        """Do for real what was done in the cloud."""
        time.sleep(self.seconds.get((action, thing.kind), 0))
        what = {
            ("create", "ec2.Eip"): self._give_address,
            ("create", "ec2.Instance"): self._make_machine,
            ("update", "ec2.Instance"): self._change_machine,
            ("delete", "ec2.Instance"): lambda it: self.machines.remove(it.id),
            ("create", "ec2.VolumeAttachment"): self._attach,
            ("delete", "ec2.VolumeAttachment"): self._detach,
            ("delete", "ebs.Volume"): self._drop_volume,
            ("update", "ec2.SecurityGroup"): lambda _: self._let_in(),
            ("update", "ec2.NetworkInterface"): lambda _: self._let_in(),
            ("create", "rds.Instance"): self._make_database,
            ("delete", "rds.Instance"): self._remove_database,
        }.get((action, thing.kind))
        if what is not None:
            what(thing)

    def _give_address(self, address: Thing) -> None:
        address.computed["publicIp"] = self.network.address_of_machine()

    def _make_machine(self, instance: Thing) -> None:
        interface = instance.inputs["primaryNetworkInterface"]["networkInterfaceId"]
        addresses = [
            str(each.computed["publicIp"])
            for each in self.cloud.of("ec2.Eip")
            if each.inputs.get("networkInterface") == interface
        ]
        address = addresses[0] if addresses else self.network.address_of_machine()
        self._started[instance.id] = _needs_restart(instance)
        type_, user_data = _needs_restart(instance)
        self.machines.make(instance.id, address, user_data, type_)
        self._let_in()

    def _change_machine(self, instance: Thing) -> None:
        """Of what can be changed in place, some needs a stop and a start."""
        machine = self.machines.all[instance.id]
        if self._started[instance.id] != _needs_restart(instance):
            self.machines.stop(machine)
            machine.type, machine.user_data = _needs_restart(instance)
            self.machines.start(machine)
            self._started[instance.id] = _needs_restart(instance)
            self._let_in()

    def _let_in(self) -> None:
        """Have every machine and every database let in whom its security groups say."""
        groups = {each.id: self._groups(each) for each in self.cloud.of("ec2.Instance")}
        for id_, own in groups.items():
            self.machines.let_in(id_, self._ingress(own, 443, "cidrBlocks"))
        for database in self.cloud.of("rds.Instance"):
            let_in = self._ingress(database.inputs["vpcSecurityGroupIds"], 5432, "securityGroups")
            reach = [id_ for id_, own in groups.items() if set(own) & set(let_in)]
            # Nowhere yet while it is being made.
            address = self._hosts.get(str(database.computed["address"]))
            if address is not None:
                self.machines.let_reach(address, reach)

    def _groups(self, instance: Thing) -> list[str]:
        id_ = instance.inputs["primaryNetworkInterface"]["networkInterfaceId"]
        interface = self.cloud.things.get(("ec2.NetworkInterface", id_))
        return interface.inputs.get("securityGroups", []) if interface else []

    def _ingress(self, groups: Sequence[str], port: int, sources: str) -> list[str]:
        """What security groups let in to a port, of one sort of sources."""
        return [
            source
            for group in groups
            for rule in self.cloud.things["ec2.SecurityGroup", group].inputs["ingress"]
            if rule["fromPort"] <= port <= rule["toPort"]
            for source in rule.get(sources, [])
        ]

    def _attach(self, attachment: Thing) -> None:
        volume = attachment.inputs["volumeId"]
        # https://docs.aws.amazon.com/ebs/latest/userguide/nvme-ebs-volumes.html
        name = f"nvme-Amazon_Elastic_Block_Store_{volume.replace('-', '')}"
        self.machines.attach(attachment.inputs["instanceId"], volume, name)

    def _detach(self, attachment: Thing) -> None:
        self.machines.detach(attachment.inputs["instanceId"], attachment.inputs["volumeId"])

    def _drop_volume(self, volume: Thing) -> None:
        shutil.rmtree(self.machines.volume(volume.id))

    def _make_database(self, thing: Thing) -> None:
        address = self.network.address_here()
        made = ManagedDatabase(address, self.network.machines, str(thing.inputs["username"]))
        self.databases[thing.computed["masterUserSecrets"][0]["secretArn"]] = made
        snapshot = thing.inputs.get("snapshotIdentifier")
        if snapshot:
            made.restore(self._snapshot(snapshot))
        else:
            made.make(str(thing.inputs["dbName"]))
        self._hosts[str(thing.computed["address"])] = address
        self.machines.know(self._hosts)
        self._let_in()

    def _remove_database(self, thing: Thing) -> None:
        name = None if thing.inputs.get("skipFinalSnapshot") else _final_snapshot(thing)
        made = self.databases.pop(thing.computed["masterUserSecrets"][0]["secretArn"])
        made.remove(self._snapshot(name) if name else None)
        if name:
            kept = self.cloud.plant("rds.Snapshot", name, **thing.inputs)
            kept.computed["made"] = datetime.now(UTC)
        self._hosts.pop(str(thing.computed["address"]), None)
        self.machines.know(self._hosts)

    def _snapshot(self, name: str) -> Path:
        folder = self._folder / "snapshots"
        folder.mkdir(exist_ok=True)
        return folder / name

    def bucket_policy(self, bucket: str) -> list[policies.Statement]:
        """What the policy of a bucket says."""
        thing = self.cloud.things.get(("s3.BucketPolicy", bucket))
        return policies.statements(str(thing.inputs["policy"])) if thing else []

    def secret(self, arn: str) -> dict[str, str] | None:
        """What a database's secret holds.

        https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-secrets-manager.html
        """
        database = self.databases.get(arn)
        return {"username": database.master, "password": database.password} if database else None

    def remove(self) -> None:
        """End all that runs."""
        self.machines.remove_all()
        for database in self.databases.values():
            database.remove()


@contextmanager
def aws_world(
    folder: Path,
    cloud: Cloud | None = None,
    *,
    packages_ready: bool = True,
    hardware: Hardware | None = None,
) -> Iterator[AwsWorld]:
    """An account around the program; all that runs in it is gone afterwards.

    Args:
        folder: of this world only: machines' disks, volumes, snapshots, moto's output.
        cloud: what is in the account; nothing but images when None.
        packages_ready: whether a new volume holds the agent's and the server's packages already.
        hardware: what machines are of; of processes in namespaces when None.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cloud = cloud or a_cloud()
    with ExitStack() as stack:
        net = stack.enter_context(network())
        moto = stack.enter_context(_running_moto(folder / "moto.txt"))
        front = Front(cloud.account, cloud.region, moto, Identities(cloud.account))
        machines = (
            stack.enter_context(hardware("aws", net, folder, _names(cloud.region)))
            if hardware
            else Machines(net, folder, packages_ready)
        )
        stack.enter_context(answering(front, net.laptop, machines.secured))
        proxy = stack.enter_context(way_out(net.laptop))
        provider = stack.enter_context(served(cloud))
        world = AwsWorld(
            folder, cloud=cloud, net=net, front=front, machines=machines, provider=provider
        )
        stack.callback(world.remove)
        metadata = stack.enter_context(metadata_service(net.laptop, world.metadata))
        variables = {
            "AWS_ENDPOINT_URL": front.url,
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata,
            "HTTPS_PROXY": proxy,
            "https_proxy": proxy,
        }
        machines.meet(urlsplit(metadata).netloc, variables)

        def in_moto(service: str) -> Any:
            return _client(service, f"http://{moto}", cloud.region, world.deployer)

        tags = in_moto("resourcegroupstaggingapi")
        front.bucket_policy = world.bucket_policy
        front.answers = aws_answers(
            cloud,
            machines,
            front,
            world.secret,
            lambda: tags.get_resources()["ResourceTagMappingList"],
        )
        cloud.listeners += [bucket_mirror(cloud, in_moto("s3")), world.listen]
        yield world


def _names(region: str) -> list[str]:
    """What its interfaces are called: https://docs.aws.amazon.com/general/latest/gr/rande.html."""
    ends = ["amazonaws.com", f"{region}.amazonaws.com", f"s3.{region}.amazonaws.com"]
    return [f"*.{end}" for end in ends]


@contextmanager
def _running_moto(output: Path) -> Iterator[str]:
    """Its host and port."""
    where = f"127.0.0.1:{(port := free_port())}"
    kept = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    with output.open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-c", _MOTO, "-H", "127.0.0.1", "-p", str(port)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=kept,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + _START_SECONDS
        while not _answers(f"http://{where}/moto-api/data.json"):
            assert time.monotonic() < until, f"moto does not start:\n{output.read_text()}"
            time.sleep(0.05)
        yield where
    finally:
        server.communicate(timeout=30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _client(service: str, url: str, region: str, who: Identity) -> Any:
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=region,
        aws_access_key_id=who.key,
        aws_secret_access_key=who.secret,
        aws_session_token=who.token,
    )


def _needs_restart(instance: Thing) -> tuple[str, str]:
    return instance.inputs["instanceType"], instance.inputs.get("userData", "")


def _final_snapshot(thing: Thing) -> str:
    return str(thing.inputs["finalSnapshotIdentifier"])
