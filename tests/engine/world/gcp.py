"""A Google Cloud project around a program that deploys: real machines, buckets that keep."""

import base64
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from buckets import running_gcs
from engine.cloud import Action, Cloud, Refused, Thing
from engine.gcp import MACHINES
from engine.provider import served
from engine.rooms import GCP_IMAGE, a_project, program
from engine.world.aws import Laptop
from engine.world.database import ManagedDatabase
from engine.world.gce import metadata_service
from engine.world.machines import INHERITED, Hardware, Machines
from engine.world.network import Network, network
from engine.world.serving import way_out
from fronts import Answer, Request, conditional_reads, google_refusal, running_front
from kits import CACHE

NUMBER = "123456789012"
ADDRESS_PAGE = "/-/address"
_TOKEN = "token-of-the-deployer"
_MACHINES_TOKEN = "token-of-a-machine"

_OBJECT_ROLES = {
    "roles/storage.legacyBucketReader": {"list"},
    "roles/storage.legacyObjectReader": {"get"},
    "roles/storage.objectCreator": {"create"},
    "roles/storage.objectUser": {"get", "list", "create", "delete"},
}
"""https://cloud.google.com/storage/docs/access-control/iam-roles; to overwrite is to delete too."""


class GcpWorld:
    """The project, as it stands around the program.

    Attributes:
        cloud: what the program made; trouble is made here.
        machines: those that run, and their volumes.
        databases: those that run, by name.
        calls: each request that a machine made of a bucket: what, the object, whether it was let.
        used: the bindings, by id, that let a machine do something.
    """

    def __init__(
        self, folder: Path, *, cloud: Cloud, net: Network, machines: Machines, provider: int
    ) -> None:
        self.cloud = cloud
        self.network = net
        self.machines = machines
        self.url = ""
        self.calls: list[tuple[str, str, bool]] = []
        self.used: set[str] = set()
        self.databases: dict[str, ManagedDatabase] = {}
        self._folder = folder
        self._provider = provider
        self._secrets: dict[str, list[str]] = {}

    def environment(self, home: Path) -> dict[str, str]:
        """All variables of a laptop."""
        home.mkdir(parents=True, exist_ok=True)
        return {
            **{k: v for k, v in os.environ.items() if k.startswith(INHERITED)},
            "PATH": f"{program().parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/bin",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "NO_COLOR": "1",
            "TRACKSTACK_HOME": str(home / "trackstack"),
            "TRACKSTACK_ADDRESS_URL": f"{self.url}{ADDRESS_PAGE}",
            "UV_CACHE_DIR": str(CACHE / "uv"),
            "GOOGLE_APPLICATION_CREDENTIALS": str(self._folder / "credentials.json"),
            "GOOGLE_REGION": self.cloud.region,
            "STORAGE_EMULATOR_HOST": self.url,
            **{
                f"GOOGLE_{name.upper()}_CUSTOM_ENDPOINT": f"{self.url}{path}"
                for name, path in _PLACES.items()
            },
            "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(self._folder / "token.txt"),
            "CLOUDSDK_CORE_PROJECT": self.cloud.account,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"{self.url}/storage/v1/",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER": f"{self.url}/secretmanager/",
            "PULUMI_DEBUG_PROVIDERS": f"gcp:{self._provider}",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }

    def laptop(self, home: Path) -> Laptop:
        """The command, run with that environment; see Kit."""
        variables = self.environment(home)
        return Laptop(Path(variables["TRACKSTACK_HOME"]), 443, variables)

    def remove(self) -> None:
        """End all that runs."""
        self.machines.remove_all()
        for database in self.databases.values():
            database.remove()

    # What clients ask

    def answer(self, request: Request, pass_on: Callable[[Request], Answer]) -> Answer:
        """By Google's own interfaces; buckets are fake-gcs-server's business."""
        if request.path == ADDRESS_PAGE:
            return Answer(200, {"Content-Type": "text/plain"}, f"{request.client}\n".encode())
        if request.path == "/token":
            return _json({"access_token": _TOKEN, "expires_in": 3600, "token_type": "Bearer"})
        for name, place in _PLACES.items():
            if name != "storage" and request.path.startswith(f"{place}/"):
                found = getattr(self, f"_{name}")(request, request.path.removeprefix(f"{place}/"))
                if request.headers.get("authorization") is None:
                    found = google_refusal(401, "no credentials")
                return found if isinstance(found, Answer) else _json(found)
        action, bucket, name = _object_action(request)
        refused = self._let_in(request.client, action, bucket, name)
        if refused is not None:
            return refused
        answer = self._stored(request, pass_on)
        # That something is not there is told only to who may list.
        missing = answer.status == 404 and action == "get"
        return (self._let_in(request.client, "list", bucket, name) if missing else None) or answer

    def _stored(self, request: Request, pass_on: Callable[[Request], Answer]) -> Answer:
        if (request.method, request.path) == ("GET", "/storage/v1/b"):
            # The double forgets labels.
            buckets = self.cloud.of("storage.Bucket")
            return _json({"items": [{"name": b.id, "labels": b.inputs["labels"]} for b in buckets]})
        answer = pass_on(_as_json(request))
        # Where an upload goes on is said by its whole address.
        host = request.headers["host"]
        place = self.url if self.url.endswith(host) else f"https://{host}"
        headers = {
            name: re.sub(r"^http://[^/]+", place, value) if name.lower() == "location" else value
            for name, value in answer.headers.items()
        }
        return Answer(answer.status, headers, answer.body)

    def _let_in(self, client: str, action: str, bucket: str, name: str) -> Answer | None:
        """What a machine may do with a bucket is what the program's bindings say."""
        if self.machines.at(client) is None:
            return None
        allowing = {
            each.id
            for each in self.cloud.of("storage.BucketIAMMember")
            if action in _OBJECT_ROLES.get(each.inputs["role"], set())
            and each.inputs["bucket"] == bucket
            and _holds(each.inputs.get("condition"), bucket, name)
        }
        self.calls.append((action, f"{bucket}/{name}", bool(allowing)))
        self.used |= allowing
        if allowing:
            return None
        return google_refusal(403, f"storage.objects.{action} denied on {bucket}/{name}")

    def _resource_manager(self, request: Request, path: str) -> Any:
        if path.endswith(":testIamPermissions"):
            return json.loads(request.body)
        if path == f"projects/{self.cloud.account}":
            return {"projectId": self.cloud.account, "projectNumber": NUMBER}
        return google_refusal(403, f"no access to {path}")

    def _compute(self, request: Request, path: str) -> Any:
        name = path.rpartition("/")[2]
        if "/aggregated/" in path:
            return self._listed(name, request.query.get("filter", ""))
        region = f"https://x/regions/{self.cloud.region}"
        zones = [
            {"name": f"{self.cloud.region}-{zone}", "region": region, "status": "UP"}
            for zone in "abf"
        ]
        known: dict[str, Any] = {
            "zones": {"items": zones},
            "snapshots": {"items": []},
            "serialPort": {"contents": "".join(m.console for m in self.machines.all.values())},
            "debian-13": {"selfLink": GCP_IMAGE},
            **{
                kind: {"guestCpus": 2, "memoryMb": 2048, "architecture": architecture}
                for kind, architecture in MACHINES.items()
            },
            **{
                link.rpartition("/")[2]: {"selfLink": link, "architecture": architecture}
                for link, architecture in self.cloud.images.items()
            },
            **{thing.id: {"id": thing.id} for thing in self.cloud.all()},
        }
        return known.get(path) or known.get(name) or google_refusal(404, f"no {path}")

    def _listed(self, kind: str, condition: str) -> dict[str, Any]:
        name, _, value = condition.partition("=")
        kinds = {"instances": "compute.Instance", "disks": "compute.Disk"}
        found = []
        for thing in self.cloud.of(kinds.get(kind, "compute.Address")):
            label = name.removeprefix("labels.")
            number = str(thing.computed.get("instanceId"))
            if (name == "id" and number == value) or (
                thing.inputs.get("labels", {}).get(label) == value
            ):
                told = {"name": thing.inputs["name"], "selfLink": thing.computed["selfLink"]}
                zone = f"https://x/zones/{thing.inputs.get('zone', '')}"
                found.append({**told, "zone": zone, "status": "RUNNING"})
        return {"items": {"zones/any": {kind: found}}}

    def _secret_manager(self, request: Request, path: str) -> Any:
        whole = f"projects/{self.cloud.account}/secrets"
        if request.method == "POST" and path == whole:
            self._secrets.setdefault(f"{whole}/{request.query['secretId']}", [])
            return {}
        name, _, action = path.partition("/versions/")
        if request.method == "POST" and path.endswith(":addVersion"):
            data = json.loads(request.body)["payload"]["data"]
            self._secrets[path.removesuffix(":addVersion")].append(data)
            return {}
        if path == whole:
            return {"secrets": []}
        if request.method == "DELETE":
            self._secrets.pop(path, None)
            return {}
        if action == "latest:access" and self._secrets.get(name):
            return {"payload": {"data": self._secrets[name][-1]}}
        return google_refusal(404, f"no {path}")

    def _sql(self, _request: Request, path: str) -> Any:
        if path.endswith("/instances"):
            return {"items": []}
        return google_refusal(404, f"no {path}")

    def _iam(self, _request: Request, path: str) -> Any:
        there = ("serviceaccount.Account", path) in self.cloud.things
        return {"name": path} if there else google_refusal(404, f"no {path}")

    def _iam_credentials(self, _request: Request, path: str) -> Any:
        """Google's own client asks where an account may be used, beside what it is asked for."""
        if path.endswith("/allowedLocations"):
            return {"locations": [], "encodedLocations": "0x0"}
        return google_refusal(403, f"no access to {path}")

    # What happens when the program makes something

    def listen(self, action: Action, thing: Thing) -> None:
        """Do for real what was done in the project."""
        what = {
            ("create", "compute.Address"): self._give_address,
            ("create", "compute.Instance"): self._make_machine,
            ("update", "compute.Instance"): self._change_machine,
            ("delete", "compute.Instance"): lambda it: self.machines.remove(
                it.computed["instanceId"]
            ),
            ("create", "compute.Firewall"): lambda _: self._open(),
            ("update", "compute.Firewall"): lambda _: self._open(),
            ("delete", "compute.Disk"): lambda it: shutil.rmtree(
                self.machines.volume(it.inputs["name"])
            ),
            ("create", "sql.DatabaseInstance"): self._make_database,
            ("update", "sql.DatabaseInstance"): self._change_database,
            ("delete", "sql.DatabaseInstance"): lambda it: self.databases.pop(it.id).remove(),
            ("create", "sql.User"): lambda it: self.databases[it.inputs["instance"]].set_password(
                it.inputs["passwordWo"]
            ),
            ("create", "secretmanager.SecretVersion"): self._keep_secret,
            ("create", "storage.Bucket"): self._make_bucket,
            ("delete", "storage.Bucket"): self._remove_bucket,
        }.get((action, thing.kind))
        if what is not None:
            what(thing)

    def _give_address(self, address: Thing) -> None:
        address.computed["address"] = self.network.address_of_machine()

    def _make_machine(self, instance: Thing) -> None:
        (interface,) = instance.inputs["networkInterfaces"]
        address = interface["accessConfigs"][0]["natIp"]
        id_ = instance.computed["instanceId"]
        type_ = instance.computed["startedAs"] = instance.inputs["machineType"]
        self.machines.make(id_, address, instance.inputs["metadata"]["startup-script"], type_)
        self._open()
        for disk in instance.inputs["attachedDisks"]:
            volume = disk["source"].rpartition("/")[2]
            self.machines.attach(id_, volume, f"google-{disk['deviceName']}")

    def _change_machine(self, instance: Thing) -> None:
        if instance.computed["startedAs"] != instance.inputs["machineType"]:
            machine = self.machines.all[instance.computed["instanceId"]]
            self.machines.stop(machine)
            machine.type = instance.inputs["machineType"]
            self.machines.start(machine)
            instance.computed["startedAs"] = instance.inputs["machineType"]
            self._open()

    def _open(self) -> None:
        ranges = [
            cidr
            for rule in self.cloud.of("compute.Firewall")
            for cidr in rule.inputs["sourceRanges"]
            if ":" not in cidr
        ]
        machines = list(self.machines.all)
        for id_ in machines:
            self.machines.let_in(id_, ranges)
        # A database with a private address is open to its whole network, in which are these only.
        for database in self.databases.values():
            self.machines.let_reach(database.address, machines)

    def _make_database(self, instance: Thing) -> None:
        address = self.network.address_here()
        made = ManagedDatabase(address, self.network.machines, "postgres")
        made.make("mlflow")
        self.databases[instance.id] = made
        instance.computed["privateIpAddress"] = address
        self._open()

    def _change_database(self, instance: Thing) -> None:
        if instance.inputs["settings"]["activationPolicy"] == "NEVER":
            self.databases[instance.id].stop()
        else:
            self.databases[instance.id].start()

    def _keep_secret(self, version: Thing) -> None:
        data = base64.b64encode(version.inputs["secretDataWo"].encode()).decode()
        self._secrets.setdefault(version.inputs["secret"], []).append(data)

    def _make_bucket(self, bucket: Thing) -> None:
        body = {"name": bucket.id, "versioning": bucket.inputs.get("versioning", {})}
        answer = httpx.post(f"{self.url}/storage/v1/b", json=body, trust_env=False)
        if answer.is_error:
            raise Refused(f"Error {answer.status_code}: {answer.text}")

    def _remove_bucket(self, bucket: Thing) -> None:
        listed = f"{self.url}/storage/v1/b/{bucket.id}/o"
        found = httpx.get(listed, params={"versions": "true"}, trust_env=False).json()
        if found.get("items"):
            raise Refused(f"Error 409: The bucket is not empty: {bucket.id}, BucketNotEmpty")
        httpx.delete(f"{self.url}/storage/v1/b/{bucket.id}", trust_env=False)

    def metadata(self, address: str) -> Mapping[str, str] | None:
        """What the machine with an address may know."""
        machine = self.machines.at(address)
        if machine is None:
            return None
        token = {"access_token": _MACHINES_TOKEN, "expires_in": 3600, "token_type": "Bearer"}
        (account,) = self.cloud.of("serviceaccount.Account")
        email = account.computed["email"]
        scopes = ["https://www.googleapis.com/auth/cloud-platform"]
        about = {"aliases": ["default"], "email": email, "scopes": scopes}
        accounts = "instance/service-accounts"
        (instance,) = (
            each
            for each in self.cloud.of("compute.Instance")
            if each.computed["instanceId"] == machine.id
        )
        attributes: dict[str, str] = {
            **instance.inputs["metadata"],
            "startup-script": machine.user_data,
        }
        called = instance.inputs["name"]
        return {
            "instance/id": machine.id,
            "instance/zone": f"projects/{NUMBER}/zones/{instance.inputs['zone']}",
            "instance/hostname": f"{called}.c.{self.cloud.account}.internal",
            "instance/attributes/": json.dumps(attributes),
            **{f"instance/attributes/{key}": value for key, value in attributes.items()},
            "project/attributes/": "{}",
            "project/project-id": self.cloud.account,
            f"{accounts}/default/email": email,
            # A client that has read the account's name asks by that from then on.
            **{f"{accounts}/{name}/": json.dumps(about) for name in ("default", email)},
            **{f"{accounts}/{name}/token": json.dumps(token) for name in ("default", email)},
        }


_PLACES = {
    "compute": "/compute/v1",
    "storage": "/storage/v1",
    "secret_manager": "/secretmanager/v1",
    "resource_manager": "/resourcemanager/v1",
    "sql": "/sql/v1",
    "iam": "/iam/v1",
    "iam_credentials": "/iamcredentials/v1",
}


def _by_host(request: Request, pass_on: Callable[[Request], Answer]) -> Answer:
    """What is asked of one of Google's own names, by the path that it has here."""
    service = request.headers.get("host", "").removesuffix(".googleapis.com")
    known = service in {"iamcredentials", "secretmanager"}
    return pass_on(replace(request, target=f"/{service}{request.target}") if known else request)


def _json(content: Any) -> Answer:
    return Answer(200, {"Content-Type": "application/json"}, json.dumps(content).encode())


def _as_json(request: Request) -> Request:
    """The other interface's reads, `GET /bucket/object`, which Go's client uses, as this one's."""
    found = re.match(r"/(?!storage/|upload/|download/)([a-z0-9._-]+)/(.+)$", request.path)
    if found is None:
        return request
    name = quote(unquote(found[2]), safe="")
    target = f"/download/storage/v1/b/{found[1]}/o/{name}?alt=media"
    return Request(request.method, target, request.headers, request.body, request.client)


def _object_action(request: Request) -> tuple[str, str, str]:
    """What is done with which object of which bucket; a name is empty for the bucket itself."""
    found = re.match(r"/(?:upload/|download/)?storage/v1/b/([^/]+)(?:/o(?:/(.+))?)?$", request.path)
    bucket, name = (found[1], unquote(found[2] or "")) if found else ("", "")
    if request.method == "POST":
        return "create", bucket, request.query.get("name") or _name_in(request.body)
    if request.method == "PUT":
        return "create", bucket, name or request.query.get("name", "")
    if request.method == "DELETE":
        return "delete", bucket, name
    return ("get" if name else "list"), bucket, name


def _name_in(body: bytes) -> str:
    """An object's name in the first part of an upload."""
    found = re.search(rb'"name": ?"([^"]+)"', body)
    return found[1].decode() if found else ""


def _holds(condition: Mapping[str, str] | None, bucket: str, name: str) -> bool:
    if not condition:
        return True
    prefixes = re.findall(r'resource\.name\.startsWith\("([^"]+)"\)', condition["expression"])
    whole = f"projects/_/buckets/{bucket}/objects/{name}"
    return any(whole.startswith(prefix) for prefix in prefixes)


def _credentials(url: str) -> str:
    """A service account's key, made for this world."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return json.dumps(
        {
            "type": "service_account",
            "project_id": "team-project",
            "private_key_id": base64.b16encode(os.urandom(8)).decode(),
            "private_key": pem.decode(),
            "client_email": "deployer@team-project.iam.gserviceaccount.com",
            "client_id": "1",
            "token_uri": f"{url}/token",
        }
    )


@contextmanager
def gcp_world(folder: Path, hardware: Hardware | None = None) -> Iterator[GcpWorld]:
    """A project around the program; all that runs in it is gone afterwards.

    Args:
        folder: of this world only: machines' disks, volumes.
        hardware: what machines are of; of processes in namespaces when None.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cloud = a_project()
    with ExitStack() as stack:
        net = stack.enter_context(network())
        gcs = stack.enter_context(running_gcs(folder))
        proxy = stack.enter_context(way_out(net.laptop))
        machines = (
            stack.enter_context(hardware("gcp", net, folder, ["*.googleapis.com"]))
            if hardware
            else Machines(net, folder, ready=True)
        )
        provider = stack.enter_context(served(cloud))
        world = GcpWorld(folder, cloud=cloud, net=net, machines=machines, provider=provider)
        stack.callback(world.remove)
        rules = [_by_host, world.answer, conditional_reads]
        front = running_front(gcs.url, rules, [], net.laptop, machines.secured)
        world.url = stack.enter_context(front)
        url = stack.enter_context(metadata_service(net.laptop, world.metadata))
        metadata = urlsplit(url).netloc
        variables = {
            "STORAGE_EMULATOR_HOST": world.url,
            "GCE_METADATA_HOST": metadata,
            "GCE_METADATA_IP": metadata,
            "GOOGLE_SECRET_MANAGER_CUSTOM_ENDPOINT": f"{world.url}/secretmanager/v1",
            "HTTPS_PROXY": proxy,
            "https_proxy": proxy,
        }
        machines.meet(metadata, variables)
        (folder / "credentials.json").write_text(_credentials(world.url))
        (folder / "token.txt").write_text(_TOKEN)
        cloud.listeners.append(world.listen)
        yield world
