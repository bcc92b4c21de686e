"""What AWS knows and refuses, for each type that the kit's programs use.

Sources: the API references of EC2, S3, IAM, RDS and DLM, and which changes replace by the AWS
provider's own schema (a property with 'Forces new resource' in its documentation).
"""

import ipaddress
import json
import re
from collections.abc import Callable, Iterator
from functools import partial

from engine.cloud import Cloud, Refused
from engine.kinds import Inputs, Kind, cidr, matches, named, numbered, one_of
from engine.schema import Problem
from engine.wire import UNKNOWN, is_known

MACHINES = {"t3.micro": "x86_64", "t3.small": "x86_64", "t3.medium": "x86_64", "t4g.small": "arm64"}
DATABASES = ("db.t3.micro", "db.t4g.micro", "db.t4g.small", "db.m7g.large")
MOST_USER_DATA = 16 * 1024


def _document(inputs: Inputs, name: str) -> Iterator[Problem]:
    value = inputs.get(name)
    if not isinstance(value, str) or value == UNKNOWN:
        return
    try:
        content = json.loads(value)
    except ValueError as error:
        yield name, f"contains an invalid JSON policy: {error}"
        return
    for statement in content.get("Statement", [{}]):
        unknown = statement.keys() - {
            "Sid",
            "Effect",
            "Principal",
            "Action",
            "Resource",
            "Condition",
        }
        if content.get("Version") != "2012-10-17" or unknown or "Action" not in statement:
            yield name, f"MalformedPolicyDocument: {statement}"


def _tags(inputs: Inputs) -> Iterator[Problem]:
    tags = inputs.get("tags")
    if not isinstance(tags, dict):
        return
    if len(tags) > 50:
        yield "tags", "more than 50"
    for key, value in tags.items():
        bad = key.lower().startswith("aws:") or not 1 <= len(key) <= 128 or len(value) > 256
        if bad or not re.fullmatch(r"[\w\s+\-=.,:/@]*", key + value):
            yield "tags", f"InvalidParameterValue: {key}={value}"


def _vpc(inputs: Inputs) -> Iterator[Problem]:
    yield from cidr(inputs, "cidrBlock")
    block = str(inputs.get("cidrBlock"))
    if "/" in block and not 16 <= int(block.split("/")[1]) <= 28:
        yield "cidrBlock", f"InvalidVpc.Range: {block} is not between /16 and /28"


def _route(inputs: Inputs) -> Iterator[Problem]:
    yield from cidr(inputs, "destinationCidrBlock")
    yield from cidr(inputs, "destinationIpv6CidrBlock", 6)


def _endpoint(inputs: Inputs) -> Iterator[Problem]:
    yield from one_of(inputs, "vpcEndpointType", ["Gateway", "Interface", "GatewayLoadBalancer"])
    yield from matches(inputs, "serviceName", r"com\.amazonaws\.[a-z0-9-]+\.[a-z0-9.]+")


def _group(inputs: Inputs) -> Iterator[Problem]:
    if str(inputs.get("name", "")).startswith("sg-"):
        yield "name", "invalid value for name (cannot begin with sg-)"
    yield from matches(inputs, "name", r"[A-Za-z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{1,255}")
    for side in ("ingress", "egress"):
        rules = inputs.get(side, [])
        count = {"cidrBlocks": 0, "ipv6CidrBlocks": 0}
        for rule in rules if isinstance(rules, list) else []:
            yield from one_of(rule, "protocol", ["tcp", "udp", "icmp", "-1"])
            for name, version in (("cidrBlocks", 4), ("ipv6CidrBlocks", 6)):
                count[name] += len(rule.get(name, []))
                for network in rule.get(name, []):
                    yield from cidr({f"{side}.{name}": network}, f"{side}.{name}", version)
            sources = ("cidrBlocks", "ipv6CidrBlocks", "securityGroups", "prefixListIds")
            if not any(rule.get(name) for name in sources) and not rule.get("self"):
                yield side, "a rule needs one of cidr_blocks, ipv6_cidr_blocks, security_groups"
        # https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html
        for name, number in count.items():
            if number > 60:
                yield side, f"RulesPerSecurityGroupLimitExceeded: {number} of {name}"


def _volume(inputs: Inputs) -> Iterator[Problem]:
    yield from one_of(inputs, "type", ["gp2", "gp3", "io1", "io2", "st1", "sc1", "standard"])


def _instance(inputs: Inputs) -> Iterator[Problem]:
    if inputs.get("instanceType") not in (*MACHINES, UNKNOWN):
        yield "instanceType", f"InvalidInstanceType: {inputs.get('instanceType')!r}"
    metadata = inputs.get("metadataOptions", {})
    yield from one_of(metadata, "httpTokens", ["optional", "required"])
    yield from one_of(metadata, "httpEndpoint", ["enabled", "disabled"])
    yield from one_of(metadata, "httpPutResponseHopLimit", range(1, 65))
    yield from _volume({"type": inputs.get("rootBlockDevice", {}).get("volumeType")})
    data = inputs.get("userData", "")
    if is_known(data) and len(data.encode()) > MOST_USER_DATA:
        yield "userData", f"User data is limited to {MOST_USER_DATA} bytes"


def _role(inputs: Inputs) -> Iterator[Problem]:
    yield from matches(inputs, "name", r"[\w+=,.@-]{1,64}")
    yield from _document(inputs, "assumeRolePolicy")
    yield from matches(inputs, "permissionsBoundary", r"arn:aws[a-z-]*:iam::[0-9]{12}:policy/.+")


def _role_policy(inputs: Inputs) -> Iterator[Problem]:
    yield from _document(inputs, "policy")
    yield from matches(inputs, "name", r"[\w+=,.@-]{1,128}")


def _bucket(inputs: Inputs) -> Iterator[Problem]:
    yield from matches(inputs, "bucket", r"(?!xn--|sthree-)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def _bucket_encryption(inputs: Inputs) -> Iterator[Problem]:
    for rule in inputs.get("rules", []):
        default = rule.get("applyServerSideEncryptionByDefault", {})
        yield from one_of(default, "sseAlgorithm", ["AES256", "aws:kms", "aws:kms:dsse"])
        if default.get("kmsMasterKeyId") and default.get("sseAlgorithm") == "AES256":
            yield "rules", "MalformedXML: a key goes with aws:kms only"


def _bucket_lifecycle(inputs: Inputs) -> Iterator[Problem]:
    for rule in inputs.get("rules", []):
        yield from one_of(rule, "status", ["Enabled", "Disabled"])
        actions = ("abortIncompleteMultipartUpload", "expiration", "noncurrentVersionExpiration")
        if not any(rule.get(action) for action in actions):
            yield "rules", f"MalformedXML: rule {rule.get('id')} does nothing"


def _snapshots(inputs: Inputs) -> Iterator[Problem]:
    yield from matches(inputs, "description", r"[0-9A-Za-z _-]{1,500}")
    yield from one_of(inputs, "state", ["ENABLED", "DISABLED"])
    details = inputs.get("policyDetails", {})
    for schedule in details.get("schedules", []):
        rule = schedule.get("createRule", {})
        yield from one_of(rule, "interval", [1, 2, 3, 4, 6, 8, 12, 24])
        yield from one_of(rule, "intervalUnit", ["HOURS"])
        yield from matches(rule, "times", r"([01][0-9]|2[0-3]):[0-5][0-9]")
        yield from one_of(
            schedule.get("retainRule", {}), "intervalUnit", ["DAYS", "WEEKS", "MONTHS", "YEARS"]
        )


def _database(inputs: Inputs) -> Iterator[Problem]:
    name = r"(?!.*--)[a-z][a-z0-9-]{0,62}(?<!-)"
    yield from matches(inputs, "identifier", name)
    yield from matches(
        inputs, "finalSnapshotIdentifier", r"(?!.*--)[A-Za-z][A-Za-z0-9-]{0,254}(?<!-)"
    )
    yield from one_of(inputs, "instanceClass", DATABASES)
    yield from one_of(inputs, "engine", ["postgres"])
    yield from matches(inputs, "engineVersion", r"1[4-8](\.[0-9]+)?")
    yield from one_of(inputs, "storageType", ["gp2", "gp3", "io1", "io2"])
    yield from one_of(inputs, "backupRetentionPeriod", range(36))
    if inputs.get("storageType") == "gp3" and not 20 <= inputs.get("allocatedStorage", 0) <= 65536:
        yield (
            "allocatedStorage",
            "Invalid storage size for engine name postgres and storage type gp3",
        )
    if inputs.get("username") in ("admin", "rdsadmin"):
        yield "username", "MasterUsername is a reserved word"
    if not inputs.get("skipFinalSnapshot") and not inputs.get("finalSnapshotIdentifier"):
        yield "finalSnapshotIdentifier", "is required when skip_final_snapshot is false"


# What only a cloud with other things in it can refuse


def _zone(cloud: Cloud, inputs: Inputs) -> None:
    zone = inputs.get("availabilityZone", f"{cloud.region}a")
    if not re.fullmatch(re.escape(cloud.region) + "[abc]", zone):
        raise Refused(
            f"InvalidParameterValue: Value ({zone}) for parameter availabilityZone is invalid."
        )


def _subnet_fits(cloud: Cloud, inputs: Inputs) -> None:
    _zone(cloud, inputs)
    inside = ipaddress.ip_network(inputs["cidrBlock"])
    vpc = cloud.things["ec2.Vpc", inputs["vpcId"]].inputs
    if not inside.subnet_of(ipaddress.ip_network(vpc["cidrBlock"])):
        raise Refused(f"InvalidSubnet.Range: The CIDR '{inside}' is invalid.")
    for other in cloud.of("ec2.Subnet"):
        taken = other.inputs["vpcId"] == inputs["vpcId"]
        if taken and inside.overlaps(ipaddress.ip_network(other.inputs["cidrBlock"])):
            raise Refused(
                f"InvalidSubnet.Conflict: The CIDR '{inside}' conflicts with another subnet"
            )


def _one_gateway(cloud: Cloud, inputs: Inputs) -> None:
    if cloud.users_of(inputs.get("vpcId", ""), iter([("ec2.InternetGateway", "vpcId")])):
        raise Refused("Resource.AlreadyAssociated: the vpc already has an internet gateway")


def _instance_starts(cloud: Cloud, inputs: Inputs) -> None:
    image = cloud.images.get(inputs.get("ami", ""))
    if image is None:
        raise Refused(f"InvalidAMIID.NotFound: The image id '[{inputs.get('ami')}]' does not exist")
    if image != MACHINES[inputs["instanceType"]]:
        raise Refused(
            f"InvalidParameterValue: The architecture '{MACHINES[inputs['instanceType']]}' of the "
            f"specified instance type does not match the architecture '{image}' of the AMI."
        )
    interface = inputs["primaryNetworkInterface"]["networkInterfaceId"]
    if ("ec2.NetworkInterface", interface) not in cloud.things:
        raise Refused(f"InvalidNetworkInterfaceID.NotFound: '{interface}' does not exist")
    if cloud.users_of(interface, iter([("ec2.Instance", "primaryNetworkInterface")])):
        raise Refused(f"InvalidNetworkInterface.InUse: '{interface}' is currently in use.")


def _volume_is_free(cloud: Cloud, inputs: Inputs) -> None:
    if cloud.users_of(inputs["volumeId"], iter([("ec2.VolumeAttachment", "volumeId")])):
        raise Refused(f"VolumeInUse: {inputs['volumeId']} is already attached to an instance")


def _bucket_is_empty(cloud: Cloud, id_: str, _inputs: Inputs) -> None:
    if cloud.objects.get(id_):
        raise Refused(
            "BucketNotEmpty: The bucket you tried to delete is not empty. "
            "You must delete all versions in the bucket."
        )


def _two_zones(cloud: Cloud, inputs: Inputs) -> None:
    zones = {
        cloud.things["ec2.Subnet", subnet].inputs["availabilityZone"]
        for subnet in inputs["subnetIds"]
    }
    if len(zones) < 2:
        raise Refused(
            "DBSubnetGroupDoesNotCoverEnoughAZs: The DB subnet group doesn't meet "
            "Availability Zone (AZ) coverage requirement."
        )


def _database_may_go(cloud: Cloud, _id: str, inputs: Inputs) -> None:
    if inputs.get("deletionProtection"):
        raise Refused(
            "InvalidParameterCombination: Cannot delete protected DB Instance, please disable "
            "deletion protection and try again."
        )
    snapshot = inputs.get("finalSnapshotIdentifier")
    if not inputs.get("skipFinalSnapshot"):
        if snapshot in cloud.snapshots:
            raise Refused(
                f"DBSnapshotAlreadyExists: Cannot create the snapshot because a snapshot with the "
                f"identifier {snapshot} already exists."
            )
        cloud.snapshots.add(snapshot)


def _snapshot_is_there(cloud: Cloud, inputs: Inputs) -> None:
    snapshot = inputs.get("snapshotIdentifier")
    if snapshot and snapshot not in cloud.snapshots:
        raise Refused(f"DBSnapshotNotFound: DBSnapshot {snapshot} not found.")


# What only the cloud knows


def _arn(service: str, what: str) -> Callable[[Cloud, str, Inputs], Inputs]:
    return lambda cloud, id_, _: {
        "arn": f"arn:aws:{service}:{cloud.region}:{cloud.account}:{what}/{id_}"
    }


def _iam_arn(what: str) -> Callable[[Cloud, str, Inputs], Inputs]:
    return lambda cloud, id_, _: {"arn": f"arn:aws:iam::{cloud.account}:{what}/{id_}"}


def _address(cloud: Cloud, id_: str, _: Inputs) -> Inputs:
    return {"allocationId": id_, "publicIp": f"198.51.100.{cloud.number() % 256}"}


def _computed_database(cloud: Cloud, id_: str, inputs: Inputs) -> Inputs:
    host = f"{inputs['identifier']}.abc.{cloud.region}.rds.amazonaws.com"
    arn = f"arn:aws:secretsmanager:{cloud.region}:{cloud.account}:secret:rds!{id_}"
    return {
        "address": host,
        "endpoint": f"{host}:5432",
        "masterUserSecrets": [{"secretArn": arn, "secretStatus": "active", "kmsKeyId": ""}],
    }


_part_of_bucket = partial(
    Kind, named("bucket"), replaces=["bucket"], needs=(("bucket", "s3.Bucket"),), blocks=False
)

KINDS: dict[str, Kind] = {
    "ec2.Vpc": Kind(numbered("vpc"), ["cidrBlock"], check=_vpc, computed=_arn("ec2", "vpc")),
    "ec2.Subnet": Kind(
        numbered("subnet"),
        ["vpcId", "cidrBlock", "availabilityZone"],
        (("vpcId", "ec2.Vpc"),),
        check=partial(cidr, name="cidrBlock"),
        computed=_arn("ec2", "subnet"),
        refuse_create=_subnet_fits,
    ),
    "ec2.InternetGateway": Kind(
        numbered("igw"), needs=(("vpcId", "ec2.Vpc"),), refuse_create=_one_gateway
    ),
    "ec2.RouteTable": Kind(numbered("rtb"), ["vpcId"], (("vpcId", "ec2.Vpc"),)),
    "ec2.Route": Kind(
        named("routeTableId", "destinationCidrBlock", between="_"),
        ["routeTableId", "destinationCidrBlock"],
        (("routeTableId", "ec2.RouteTable"), ("gatewayId", "ec2.InternetGateway")),
        check=_route,
    ),
    "ec2.RouteTableAssociation": Kind(
        named("subnetId", "routeTableId", between="/"),
        ["subnetId"],
        (("routeTableId", "ec2.RouteTable"), ("subnetId", "ec2.Subnet")),
    ),
    "ec2.VpcEndpoint": Kind(
        numbered("vpce"),
        ["vpcId", "serviceName", "vpcEndpointType"],
        (("vpcId", "ec2.Vpc"), ("routeTableIds", "ec2.RouteTable")),
        check=_endpoint,
    ),
    "ec2.SecurityGroup": Kind(
        numbered("sg"),
        ["name", "description", "vpcId"],
        (("vpcId", "ec2.Vpc"),),
        autoname="name",
        unique="name",
        check=_group,
    ),
    "ec2.NetworkInterface": Kind(
        numbered("eni"),
        ["subnetId"],
        (("subnetId", "ec2.Subnet"), ("securityGroups", "ec2.SecurityGroup")),
    ),
    "ec2.Eip": Kind(
        numbered("eipalloc"),
        ["domain"],
        (("networkInterface", "ec2.NetworkInterface"),),
        check=partial(one_of, name="domain", values=["vpc"]),
        computed=_address,
        blocks=False,
    ),
    "ec2.Instance": Kind(
        numbered("i"),
        ["ami", "primaryNetworkInterface", "availabilityZone", "keyName"],
        (("iamInstanceProfile", "iam.InstanceProfile"),),
        check=_instance,
        computed=_arn("ec2", "instance"),
        refuse_create=_instance_starts,
    ),
    "ec2.VolumeAttachment": Kind(
        named("deviceName", "volumeId", "instanceId"),
        ["deviceName", "volumeId", "instanceId"],
        (("volumeId", "ebs.Volume"), ("instanceId", "ec2.Instance")),
        check=partial(matches, name="deviceName", pattern=r"/dev/(sd[f-p]|xvd[f-p])"),
        refuse_create=_volume_is_free,
    ),
    "ebs.Volume": Kind(
        numbered("vol"),
        ["availabilityZone", "encrypted", "kmsKeyId", "snapshotId"],
        check=_volume,
        computed=_arn("ec2", "volume"),
        refuse_create=_zone,
    ),
    "dlm.LifecyclePolicy": Kind(
        numbered("policy"), needs=(("executionRoleArn", "iam.Role"),), check=_snapshots
    ),
    "iam.Role": Kind(
        named("name"),
        ["name", "path"],
        autoname="name",
        unique="name",
        check=_role,
        computed=_iam_arn("role"),
    ),
    "iam.RolePolicy": Kind(
        named("role", "name"),
        ["name", "role"],
        (("role", "iam.Role"),),
        "name",
        check=_role_policy,
    ),
    "iam.RolePolicyAttachment": Kind(
        named("role", "policyArn", between="/"),
        ["role", "policyArn"],
        (("role", "iam.Role"),),
        check=partial(
            matches, name="policyArn", pattern=r"arn:aws[a-z-]*:iam::(aws|[0-9]{12}):policy/.+"
        ),
    ),
    "iam.InstanceProfile": Kind(
        named("name"),
        ["name", "path"],
        (("role", "iam.Role"),),
        autoname="name",
        unique="name",
        computed=_iam_arn("instance-profile"),
    ),
    "s3.Bucket": Kind(
        named("bucket"),
        ["bucket"],
        autoname="bucket",
        unique="bucket",
        check=_bucket,
        computed=lambda _cloud, id_, _inputs: {"arn": f"arn:aws:s3:::{id_}"},
        refuse_delete=_bucket_is_empty,
    ),
    "s3.BucketPublicAccessBlock": _part_of_bucket(),
    "s3.BucketServerSideEncryptionConfiguration": _part_of_bucket(check=_bucket_encryption),
    "s3.BucketVersioning": _part_of_bucket(),
    "s3.BucketPolicy": _part_of_bucket(check=partial(_document, name="policy")),
    "s3.BucketLifecycleConfiguration": _part_of_bucket(check=_bucket_lifecycle),
    "rds.SubnetGroup": Kind(
        named("name"),
        ["name"],
        (("subnetIds", "ec2.Subnet"),),
        autoname="name",
        unique="name",
        check=partial(matches, name="name", pattern=r"[a-z0-9 ._-]{1,255}"),
        refuse_create=_two_zones,
    ),
    "rds.ParameterGroup": Kind(
        named("name"),
        ["name", "family", "description"],
        autoname="name",
        unique="name",
        check=partial(matches, name="name", pattern=r"(?!.*--)[a-z][a-z0-9.-]{0,254}(?<!-)"),
    ),
    "rds.Instance": Kind(
        numbered("db"),
        ["engine", "dbName", "username", "storageEncrypted", "kmsKeyId", "snapshotIdentifier"],
        (
            ("dbSubnetGroupName", "rds.SubnetGroup"),
            ("parameterGroupName", "rds.ParameterGroup"),
            ("vpcSecurityGroupIds", "ec2.SecurityGroup"),
        ),
        autoname="identifier",
        unique="identifier",
        check=_database,
        computed=_computed_database,
        refuse_create=_snapshot_is_there,
        refuse_delete=_database_may_go,
    ),
}


def checks(kind: str, inputs: Inputs) -> Iterator[Problem]:
    """What is wrong with the known values of a resource's inputs."""
    yield from _tags(inputs)
    yield from KINDS[kind].check(inputs)


def dependents(kind: str) -> Iterator[tuple[str, str]]:
    """The kinds, with the property, that keep a thing of this kind from being removed."""
    for other, rules in KINDS.items():
        for name, needed in rules.needs if rules.blocks else ():
            if needed == kind:
                yield other, name
    if kind == "ec2.NetworkInterface":
        yield "ec2.Instance", "primaryNetworkInterface"
