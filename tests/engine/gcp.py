"""What Google Cloud knows and refuses, for each type that the kit's programs use.

Sources: the API references of Compute Engine, Cloud Storage, Cloud SQL, IAM and Secret Manager, and
which changes replace by the provider's own schema (a property that says 'forces replacement').
"""

import ipaddress
import re
from collections.abc import Callable, Iterator
from functools import partial

from engine.cloud import Cloud, Refused
from engine.kinds import Inputs, Kind, matches, one_of
from engine.schema import Problem
from engine.wire import UNKNOWN, is_known

MACHINES = {
    "e2-micro": "X86_64",
    "e2-small": "X86_64",
    "e2-medium": "X86_64",
    "n1-standard-1": "X86_64",
    "t2a-standard-1": "ARM64",
}
TIERS = r"db-f1-micro|db-g1-small|db-custom-[0-9]+-[0-9]+"
MOST_METADATA = 256 * 1024
_NAME = r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?"


def _labels(inputs: Inputs) -> Iterator[Problem]:
    for place in (inputs.get("labels"), inputs.get("settings", {}).get("userLabels")):
        for key, value in (place or {}).items():
            right = re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key)
            if not (right and re.fullmatch(r"[a-z0-9_-]{0,63}", value)):
                yield "labels", f"Invalid value for field 'labels': {key}={value}"


def _named_well(inputs: Inputs) -> Iterator[Problem]:
    yield from matches(inputs, "name", _NAME)


def _subnet(inputs: Inputs) -> Iterator[Problem]:
    yield from _named_well(inputs)
    try:
        ipaddress.IPv4Network(inputs.get("ipCidrRange", "10.0.0.0/24"))
    except ValueError as error:
        yield "ipCidrRange", f"Invalid IPCidrRange: {error}"


def _firewall(inputs: Inputs) -> Iterator[Problem]:
    yield from _named_well(inputs)
    yield from one_of(inputs, "direction", ["INGRESS", "EGRESS"])
    kinds = set()
    for each in inputs.get("sourceRanges", []):
        try:
            kinds.add(ipaddress.ip_network(each).version)
        except ValueError:
            yield "sourceRanges", f"Invalid value for field 'sourceRanges': {each!r}"
    if len(kinds) > 1:
        yield "sourceRanges", "IPv4 and IPv6 ranges cannot be in one rule"
    if not kinds and not inputs.get("sourceTags"):
        yield "sourceRanges", "a rule without a source would let in everybody"
    if inputs.get("targetTags") and inputs.get("targetServiceAccounts"):
        yield "targetTags", "cannot be used together with targetServiceAccounts"


def _instance(inputs: Inputs) -> Iterator[Problem]:
    yield from _named_well(inputs)
    if inputs.get("machineType") not in (*MACHINES, UNKNOWN):
        yield "machineType", f"Invalid value for field 'machineType': {inputs.get('machineType')!r}"
    yield from one_of(
        inputs.get("scheduling", {}), "provisioningModel", ["STANDARD", "SPOT", "FLEX_START"]
    )
    metadata = inputs.get("metadata", {})
    if is_known(metadata) and sum(len(v.encode()) for v in metadata.values()) > MOST_METADATA:
        yield "metadata", f"Metadata is limited to {MOST_METADATA} bytes"


def _disk(inputs: Inputs) -> Iterator[Problem]:
    yield from _named_well(inputs)
    yield from one_of(inputs, "type", ["pd-standard", "pd-balanced", "pd-ssd", "pd-extreme"])
    if not 10 <= inputs.get("size", 10) <= 65536:
        yield "size", f"Disk size {inputs['size']} GB is not allowed"


def _schedule(inputs: Inputs) -> Iterator[Problem]:
    yield from _named_well(inputs)
    policy = inputs.get("snapshotSchedulePolicy", {})
    daily = policy.get("schedule", {}).get("dailySchedule", {})
    yield from matches(daily, "startTime", r"([01][0-9]|2[0-3]):00")
    yield from one_of(
        policy.get("retentionPolicy", {}),
        "onSourceDiskDelete",
        ["KEEP_AUTO_SNAPSHOTS", "APPLY_RETENTION_POLICY"],
    )


def _bucket(inputs: Inputs) -> Iterator[Problem]:
    yield from matches(
        inputs, "name", r"(?!goog)(?!.*g[o0][o0]g[l1]e)[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]"
    )
    yield from one_of(inputs, "publicAccessPrevention", ["enforced", "inherited"])
    for rule in inputs.get("lifecycleRules", []):
        yield from one_of(
            rule.get("action", {}),
            "type",
            ["Delete", "SetStorageClass", "AbortIncompleteMultipartUpload"],
        )
        yield from one_of(rule.get("condition", {}), "withState", ["LIVE", "ARCHIVED", "ANY"])
        if not rule.get("condition"):
            yield "lifecycleRules", "A rule without a condition would delete everything"


def _binding(inputs: Inputs) -> Iterator[Problem]:
    yield from matches(inputs, "member", r"(serviceAccount|user|group):[^@]+@.+")
    yield from matches(inputs, "role", r"roles/[a-zA-Z.]+|projects/.+/roles/.+")
    expression = inputs.get("condition", {}).get("expression", "true")
    if is_known(expression) and expression.count("(") != expression.count(")"):
        yield "condition", f"invalid CEL expression: {expression}"


def _database(inputs: Inputs) -> Iterator[Problem]:
    yield from matches(inputs, "name", r"[a-z][a-z0-9-]{0,96}")
    yield from matches(inputs, "databaseVersion", r"POSTGRES_1[3-8]")
    settings = inputs.get("settings", {})
    yield from matches(settings, "tier", TIERS)
    yield from one_of(settings, "edition", ["ENTERPRISE", "ENTERPRISE_PLUS"])
    yield from one_of(settings, "availabilityType", ["ZONAL", "REGIONAL"])
    yield from one_of(settings, "activationPolicy", ["ALWAYS", "NEVER"])
    ip = settings.get("ipConfiguration", {})
    modes = ["ALLOW_UNENCRYPTED_AND_ENCRYPTED", "ENCRYPTED_ONLY"]
    yield from one_of(ip, "sslMode", [*modes, "TRUSTED_CLIENT_CERTIFICATE_REQUIRED"])
    if not ip.get("ipv4Enabled", True) and not ip.get("privateNetwork"):
        yield "settings", "At least one of Public IP or Private IP must be enabled"
    backup = settings.get("backupConfiguration", {})
    if backup.get("pointInTimeRecoveryEnabled") and not backup.get("enabled"):
        yield "settings", "Point-in-time recovery needs backups"


def _secret(inputs: Inputs) -> Iterator[Problem]:
    yield from matches(inputs, "secretId", r"[a-zA-Z0-9_-]{1,255}")


def _secret_version(inputs: Inputs) -> Iterator[Problem]:
    if not inputs.get("secretData") and not inputs.get("secretDataWo"):
        yield "secretDataWo", "one of secretData, secretDataWo must be specified"


def _connection(inputs: Inputs) -> Iterator[Problem]:
    yield from one_of(inputs, "deletionPolicy", ["ABANDON"])
    yield from matches(inputs, "service", r"[a-z]+\.googleapis\.com")


# What only a cloud with other things in it can refuse


def _interface_is_on(service: str) -> Callable[[Cloud, Inputs], None]:
    def must_be_on(cloud: Cloud, _inputs: Inputs) -> None:
        if ("projects.Service", f"{cloud.account}/{service}.googleapis.com") not in cloud.things:
            raise Refused(
                f"Error 403: {service}.googleapis.com has not been used in project "
                f"{cloud.account} before or it is disabled., accessNotConfigured"
            )

    return must_be_on


def _network_is_of_the_project(cloud: Cloud, inputs: Inputs) -> None:
    """https://cloud.google.com/vpc/docs/shared-vpc: its rules are the host project's."""
    _interface_is_on("compute")(cloud, inputs)
    project = inputs.get("project", cloud.account)
    if not inputs["network"].startswith(f"projects/{project}/"):
        raise Refused(
            f"Error 400: Invalid value for field 'resource.network': '{inputs['network']}'. "
            f"The network is not of project {project}, invalid"
        )


def _instance_starts(cloud: Cloud, inputs: Inputs) -> None:
    _interface_is_on("compute")(cloud, inputs)
    image = inputs["bootDisk"]["initializeParams"]["image"]
    if image not in cloud.images:
        raise Refused(f"Error 404: The resource '{image}' was not found, notFound")
    if cloud.images[image] != MACHINES[inputs["machineType"]]:
        raise Refused(
            f"Error 400: Requested boot disk architecture ({cloud.images[image]}) is not "
            f"compatible with machine type architecture ({MACHINES[inputs['machineType']]})."
        )
    for disk in inputs.get("attachedDisks", []):
        users = [
            each.id
            for each in cloud.of("compute.Instance")
            if disk["source"] in [d["source"] for d in each.inputs.get("attachedDisks", [])]
        ]
        if users:
            raise Refused(
                f"Error 400: The disk resource '{disk['source']}' is already being used by "
                f"'{users[0]}', resourceInUseByAnotherResource"
            )


def _in_use(cloud: Cloud, id_: str, _inputs: Inputs) -> None:
    """A disk or an address that a machine has."""
    thing = next(t for t in cloud.all() if t.id == id_)
    names = {id_, thing.computed.get("selfLink"), thing.computed.get("address")} - {None}
    for machine in cloud.of("compute.Instance"):
        if any(str(name) in str(machine.inputs) for name in names):
            raise Refused(
                f"Error 400: The resource '{id_}' is already being used by '{machine.id}', "
                "resourceInUseByAnotherResource"
            )


def _network_is_free(cloud: Cloud, id_: str, _inputs: Inputs) -> None:
    for database in cloud.of("sql.DatabaseInstance"):
        network = database.inputs["settings"]["ipConfiguration"].get("privateNetwork")
        if network == id_:
            raise Refused(
                f"Error 400: The network resource '{id_}' is already being used by "
                f"'{database.id}', resourceInUseByAnotherResource"
            )


def _network_is_peered(cloud: Cloud, inputs: Inputs) -> None:
    _interface_is_on("sqladmin")(cloud, inputs)
    network = inputs["settings"]["ipConfiguration"].get("privateNetwork")
    peered = {each.inputs["network"] for each in cloud.of("servicenetworking.Connection")}
    if network and network not in peered and network.startswith(f"projects/{cloud.account}/"):
        raise Refused(
            "Error 400: Invalid request: Incorrect Service Networking config for instance: "
            f"{cloud.account}:{inputs['name']}:SERVICE_NETWORKING_NOT_ENABLED., invalid"
        )
    if f"sql/{inputs['name']}" in cloud.snapshots:
        raise Refused(
            "Error 409: The instance or operation is not in an appropriate state: the name was "
            "used within the last week, instanceAlreadyExists"
        )


def _database_may_go(cloud: Cloud, id_: str, inputs: Inputs) -> None:
    if inputs.get("deletionProtection"):
        raise Refused(
            "cannot destroy instance without setting deletion_protection=false and running apply"
        )
    if inputs["settings"].get("deletionProtectionEnabled"):
        raise Refused("Error 400: The instance is protected. Please disable deletion protection.")
    cloud.snapshots.add(f"sql/{id_}")


def _bucket_is_empty(cloud: Cloud, id_: str, _inputs: Inputs) -> None:
    if cloud.objects.get(id_):
        raise Refused(
            f"Error 409: The bucket you tried to delete is not empty: {id_}, BucketNotEmpty"
        )


# What only the cloud knows


def _placed(kind: str, where: str) -> Callable[[Cloud, Inputs], str]:
    def make(cloud: Cloud, inputs: Inputs) -> str:
        place = {
            "global": "global",
            "region": f"regions/{inputs.get('region', cloud.region)}",
            "zone": f"zones/{inputs.get('zone', f'{cloud.region}-a')}",
        }[where]
        project = inputs.get("project", cloud.account)
        return f"projects/{project}/{place}/{kind}/{inputs['name']}"

    return make


def _link(_cloud: Cloud, id_: str, _inputs: Inputs) -> Inputs:
    return {"selfLink": f"https://www.googleapis.com/compute/v1/{id_}"}


def _address(cloud: Cloud, id_: str, inputs: Inputs) -> Inputs:
    return {**_link(cloud, id_, inputs), "address": f"198.51.100.{cloud.number() % 256}"}


def _computed_instance(cloud: Cloud, id_: str, inputs: Inputs) -> Inputs:
    number = f"{cloud.number() + 4_000_000_000_000_000_000}"
    return {**_link(cloud, id_, inputs), "instanceId": number}


def _computed_account(cloud: Cloud, _id: str, inputs: Inputs) -> Inputs:
    email = f"{inputs['accountId']}@{cloud.account}.iam.gserviceaccount.com"
    return {
        "email": email,
        "member": f"serviceAccount:{email}",
        "name": f"projects/{cloud.account}/serviceAccounts/{email}",
    }


def _computed_database(cloud: Cloud, id_: str, _inputs: Inputs) -> Inputs:
    return {
        "connectionName": f"{cloud.account}:{cloud.region}:{id_}",
        "privateIpAddress": f"10.79.0.{cloud.number() % 256}",
        "selfLink": f"https://sqladmin.googleapis.com/sql/v1beta4/projects/{cloud.account}/instances/{id_}",
    }


def _of(*properties: str, between: str = "/") -> Callable[[Cloud, Inputs], str]:
    return lambda cloud, inputs: between.join(
        cloud.account if name == "project" else str(inputs[name]) for name in properties
    )


KINDS: dict[str, Kind] = {
    "projects.Service": Kind(_of("project", "service"), ["service"]),
    "compute.Network": Kind(
        _placed("networks", "global"),
        ["name", "autoCreateSubnetworks", "description"],
        unique="name",
        check=_named_well,
        computed=_link,
        refuse_create=_interface_is_on("compute"),
        refuse_delete=_network_is_free,
    ),
    "compute.Subnetwork": Kind(
        _placed("subnetworks", "region"),
        ["name", "network", "region"],
        (("network", "compute.Network"),),
        unique="name",
        check=_subnet,
        computed=_link,
    ),
    "compute.Firewall": Kind(
        _placed("firewalls", "global"),
        ["name", "network", "direction"],
        (("network", "compute.Network"),),
        unique="name",
        check=_firewall,
        computed=_link,
        refuse_create=_network_is_of_the_project,
    ),
    "compute.Address": Kind(
        _placed("addresses", "region"),
        ["name", "addressType", "region"],
        unique="name",
        check=_named_well,
        computed=_address,
        refuse_create=_interface_is_on("compute"),
        refuse_delete=_in_use,
    ),
    "compute.GlobalAddress": Kind(
        _placed("addresses", "global"),
        ["name", "addressType", "purpose", "prefixLength", "network"],
        (("network", "compute.Network"),),
        unique="name",
        check=_named_well,
        computed=_address,
    ),
    "servicenetworking.Connection": Kind(
        _of("network", "service", between=":"),
        ["network", "service"],
        (("network", "compute.Network"),),
        check=_connection,
        blocks=False,
        refuse_create=_interface_is_on("servicenetworking"),
    ),
    "compute.Disk": Kind(
        _placed("disks", "zone"),
        ["name", "type", "zone", "diskEncryptionKey"],
        unique="name",
        check=_disk,
        computed=_link,
        refuse_create=_interface_is_on("compute"),
        refuse_delete=_in_use,
    ),
    "compute.ResourcePolicy": Kind(
        _placed("resourcePolicies", "region"),
        ["name", "region", "snapshotSchedulePolicy", "description"],
        unique="name",
        check=_schedule,
        computed=_link,
    ),
    "compute.DiskResourcePolicyAttachment": Kind(
        _of("project", "zone", "disk", "name"), ["name", "disk", "zone"]
    ),
    "compute.Instance": Kind(
        _placed("instances", "zone"),
        ["name", "zone", "bootDisk"],
        unique="name",
        check=_instance,
        computed=_computed_instance,
        refuse_create=_instance_starts,
    ),
    "storage.Bucket": Kind(
        _of("name"),
        ["name", "location"],
        unique="name",
        check=_bucket,
        computed=lambda _cloud, id_, _inputs: {"url": f"gs://{id_}"},
        refuse_create=_interface_is_on("storage"),
        refuse_delete=_bucket_is_empty,
    ),
    "storage.BucketIAMMember": Kind(
        lambda _, i: (
            f"b/{i['bucket']}/{i['role']}/{i['member']}/{i.get('condition', {}).get('title', '')}"
        ),
        ["bucket", "role", "member", "condition"],
        (("bucket", "storage.Bucket"),),
        check=_binding,
        blocks=False,
    ),
    "serviceaccount.Account": Kind(
        lambda cloud, i: (
            f"projects/{cloud.account}/serviceAccounts/"
            f"{i['accountId']}@{cloud.account}.iam.gserviceaccount.com"
        ),
        ["accountId"],
        unique="accountId",
        check=partial(matches, name="accountId", pattern=r"[a-z][a-z0-9-]{4,28}[a-z0-9]"),
        computed=_computed_account,
        refuse_create=_interface_is_on("iam"),
    ),
    "secretmanager.Secret": Kind(
        lambda cloud, i: f"projects/{cloud.account}/secrets/{i['secretId']}",
        ["secretId", "replication"],
        unique="secretId",
        check=_secret,
        refuse_create=_interface_is_on("secretmanager"),
    ),
    "secretmanager.SecretVersion": Kind(
        lambda _, i: f"{i['secret']}/versions/{i.get('secretDataWoVersion', '1')}",
        ["secret", "secretDataWoVersion"],
        (("secret", "secretmanager.Secret"),),
        check=_secret_version,
        blocks=False,
    ),
    "secretmanager.SecretIamMember": Kind(
        _of("secretId", "role", "member"),
        ["secretId", "role", "member"],
        (("secretId", "secretmanager.Secret"),),
        check=_binding,
        blocks=False,
    ),
    "sql.DatabaseInstance": Kind(
        _of("name"),
        ["name", "region", "encryptionKeyName"],
        unique="name",
        check=_database,
        computed=_computed_database,
        refuse_create=_network_is_peered,
        refuse_delete=_database_may_go,
    ),
    "sql.Database": Kind(
        lambda cloud, i: (
            f"projects/{cloud.account}/instances/{i['instance']}/databases/{i['name']}"
        ),
        ["name", "instance"],
        (("instance", "sql.DatabaseInstance"),),
        blocks=False,
    ),
    "sql.User": Kind(
        _of("name", "instance", between="//"),
        ["name", "instance"],
        (("instance", "sql.DatabaseInstance"),),
        blocks=False,
    ),
}


def checks(kind: str, inputs: Inputs) -> Iterator[Problem]:
    """What is wrong with the known values of a resource's inputs."""
    yield from _labels(inputs)
    yield from KINDS[kind].check(inputs)


def dependents(kind: str) -> Iterator[tuple[str, str]]:
    """The kinds, with the property, that keep a thing of this kind from being removed."""
    for other, rules in KINDS.items():
        for name, needed in rules.needs if rules.blocks else ():
            if needed == kind:
                yield other, name
