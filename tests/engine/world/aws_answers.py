"""What AWS answers about the things that are in the cloud: EC2, RDS, IAM, tags, secrets."""

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from engine.aws import MACHINES
from engine.cloud import Cloud, Thing
from engine.world.front import Front, Says
from engine.world.identities import Identity
from engine.world.machines import Machines
from engine.world.requests import Asked

Content = Mapping[str, Any]
Answers = dict[tuple[str, str], Callable[[Asked, Identity], Content | None]]

IMAGE_PARAMETER = "/aws/service/debian/release/13/latest/"
_DEBIAN = {"amd64": "x86_64", "arm64": "arm64"}

# https://aws.amazon.com/ec2/instance-types/t3/: cores, MiB
_SIZES = {"micro": (2, 1024), "small": (2, 2048), "medium": (2, 4096)}

_ARNS = {
    "dlm.LifecyclePolicy": "dlm:policy/",
    "ebs.Volume": "ec2:volume/",
    "ec2.Eip": "ec2:elastic-ip/",
    "ec2.Instance": "ec2:instance/",
    "ec2.InternetGateway": "ec2:internet-gateway/",
    "ec2.NetworkInterface": "ec2:network-interface/",
    "ec2.RouteTable": "ec2:route-table/",
    "ec2.SecurityGroup": "ec2:security-group/",
    "ec2.Snapshot": "ec2:snapshot/",
    "ec2.Subnet": "ec2:subnet/",
    "ec2.Vpc": "ec2:vpc/",
    "ec2.VpcEndpoint": "ec2:vpc-endpoint/",
    "rds.Instance": "rds:db:",
    "rds.ParameterGroup": "rds:pg:",
    "rds.SubnetGroup": "rds:subgrp:",
}
"""Kinds that the tagging service knows. Buckets and parameters are moto's, IAM it does not tell."""


def aws_answers(
    cloud: Cloud,
    machines: Machines,
    front: Front,
    secret: Callable[[str], Content | None],
    in_moto: Callable[[], list[Content]],
) -> Answers:
    """How each operation is answered from what is there.

    Args:
        cloud: what is there.
        machines: those that run.
        front: knows who may do what.
        secret: what a secret holds at the moment, by its ARN; None when there is none.
        in_moto: what moto knows of with tags.
    """
    return {
        **_computing(cloud, machines),
        **_databases(cloud),
        **_identities(cloud, front),
        ("secretsmanager", "GetSecretValue"): lambda asked, _: _secret(asked, secret),
        ("tagging", "GetResources"): lambda asked, _: _tagged(cloud, in_moto, asked),
        ("ssm", "GetParameter"): lambda asked, _: _image(cloud, asked),
    }


def arn_of(cloud: Cloud, thing: Thing) -> str | None:
    """The ARN of what the tagging service knows."""
    if thing.kind not in _ARNS:
        return None
    service, _, rest = _ARNS[thing.kind].partition(":")
    name = thing.inputs.get("identifier", thing.id)
    return f"arn:aws:{service}:{cloud.region}:{cloud.account}:{rest}{name}"


def tags_of(thing: Thing) -> list[dict[str, str]]:
    """A thing's tags as clients read them."""
    return [{"Key": k, "Value": v} for k, v in thing.inputs.get("tags", {}).items()]


def _computing(cloud: Cloud, machines: Machines) -> Answers:
    zones = [f"{cloud.region}{letter}" for letter in "abc"]

    def instances(asked: Asked, _: Identity) -> Content:
        wanted = asked.parameters.get("InstanceIds")
        found = _named(cloud.of("ec2.Instance"), wanted, "InvalidInstanceID.NotFound")
        return {"Reservations": [{"Instances": [_instance(each, machines)]} for each in found]}

    def types(asked: Asked, _: Identity) -> Content:
        wanted = asked.parameters.get("InstanceTypes") or sorted(MACHINES)
        if unknown := [each for each in wanted if each not in MACHINES]:
            raise Says(
                "InvalidInstanceType", f"The following supplied types do not exist: {unknown}"
            )
        return {"InstanceTypes": [_machine_type(each) for each in wanted]}

    def offerings(asked: Asked, _: Identity) -> Content:
        wanted = _filtered(asked, "instance-type") or sorted(MACHINES)
        return {
            "InstanceTypeOfferings": [
                {"InstanceType": each, "LocationType": "availability-zone", "Location": zone}
                for each in wanted
                if each in MACHINES
                for zone in zones
            ]
        }

    def images(asked: Asked, _: Identity) -> Content:
        wanted = asked.parameters.get("ImageIds") or list(cloud.images)
        if unknown := [each for each in wanted if each not in cloud.images]:
            raise Says("InvalidAMIID.NotFound", f"The image id '{unknown}' does not exist")
        return {
            "Images": [
                {"ImageId": each, "Architecture": cloud.images[each], "State": "available"}
                for each in wanted
            ]
        }

    def console(asked: Asked, _: Identity) -> Content:
        id_ = str(asked.parameters["InstanceId"])
        _named(cloud.of("ec2.Instance"), [id_], "InvalidInstanceID.NotFound")
        # The last 64 KB: docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetConsoleOutput.html
        printed = machines.all[id_].console[-65536:] if id_ in machines.all else ""
        output = base64.b64encode(printed.encode()).decode()
        return {"InstanceId": id_, "Output": output, "Timestamp": datetime.now(UTC)}

    def volumes(asked: Asked, _: Identity) -> Content:
        wanted = asked.parameters.get("VolumeIds")
        found = _named(cloud.of("ebs.Volume"), wanted, "InvalidVolume.NotFound")
        return {
            "Volumes": [
                {"VolumeId": each.id, "Size": int(each.inputs["size"]), "Tags": tags_of(each)}
                for each in found
            ]
        }

    def snapshots(asked: Asked, _: Identity) -> Content:
        wanted = asked.parameters.get("SnapshotIds")
        found = _named(cloud.of("ec2.Snapshot"), wanted, "InvalidSnapshot.NotFound")
        return {"Snapshots": [{"SnapshotId": each.id, "Tags": tags_of(each)} for each in found]}

    return {
        ("ec2", "DescribeInstances"): instances,
        ("ec2", "DescribeInstanceTypes"): types,
        ("ec2", "DescribeInstanceTypeOfferings"): offerings,
        ("ec2", "DescribeImages"): images,
        ("ec2", "DescribeVolumes"): volumes,
        ("ec2", "DescribeSnapshots"): snapshots,
        ("ec2", "GetConsoleOutput"): console,
        ("ec2", "DescribeAvailabilityZones"): lambda *_: {
            "AvailabilityZones": [{"ZoneName": zone, "State": "available"} for zone in zones]
        },
    }


def _instance(thing: Thing, machines: Machines) -> Content:
    machine = machines.all.get(thing.id)
    runs = machine is not None and machine.computer is not None
    return {
        "InstanceId": thing.id,
        "ImageId": thing.inputs["ami"],
        "InstanceType": thing.inputs["instanceType"],
        "PublicIpAddress": machine.address if machine else None,
        "State": {"Name": "running", "Code": 16} if runs else {"Name": "stopped", "Code": 80},
        "Tags": tags_of(thing),
    }


def _machine_type(name: str) -> Content:
    cores, memory = _SIZES[name.partition(".")[2]]
    return {
        "InstanceType": name,
        "VCpuInfo": {"DefaultVCpus": cores},
        "MemoryInfo": {"SizeInMiB": memory},
        "ProcessorInfo": {"SupportedArchitectures": [MACHINES[name]]},
    }


def _databases(cloud: Cloud) -> Answers:
    def instances(asked: Asked, _: Identity) -> Content:
        wanted = asked.parameters.get("DBInstanceIdentifier")
        found = [
            each for each in cloud.of("rds.Instance") if wanted in (None, each.inputs["identifier"])
        ]
        if wanted and not found:
            raise Says("DBInstanceNotFound", f"DBInstance {wanted} not found.", 404)
        return {
            "DBInstances": [
                {
                    "DBInstanceIdentifier": each.inputs["identifier"],
                    "DBInstanceStatus": "available",
                    "DBInstanceArn": arn_of(cloud, each),
                    "DeletionProtection": bool(each.inputs.get("deletionProtection")),
                    "TagList": tags_of(each),
                }
                for each in found
            ]
        }

    def snapshots(_asked: Asked, _: Identity) -> Content:
        return {
            "DBSnapshots": [
                {
                    "DBSnapshotIdentifier": each.id,
                    "DBInstanceIdentifier": each.inputs["identifier"],
                    "SnapshotCreateTime": each.computed["made"],
                    "SnapshotType": "manual",
                    "Status": "available",
                    "TagList": tags_of(each),
                }
                for each in cloud.of("rds.Snapshot")
            ]
        }

    def groups(kind: str, parameter: str, answer: str, code: str) -> Callable[..., Content]:
        def those(asked: Asked, _: Identity) -> Content:
            wanted = asked.parameters.get(parameter)
            found = _named(cloud.of(kind), [wanted] if wanted else None, code, 404)
            return {answer: [{parameter: each.id} for each in found]}

        return those

    return {
        ("rds", "DescribeDBInstances"): instances,
        ("rds", "DescribeDBSnapshots"): snapshots,
        ("rds", "DescribeDBSubnetGroups"): groups(
            "rds.SubnetGroup", "DBSubnetGroupName", "DBSubnetGroups", "DBSubnetGroupNotFoundFault"
        ),
        ("rds", "DescribeDBParameterGroups"): groups(
            "rds.ParameterGroup",
            "DBParameterGroupName",
            "DBParameterGroups",
            "DBParameterGroupNotFound",
        ),
    }


def _identities(cloud: Cloud, front: Front) -> Answers:
    def the_role(name: str) -> Thing:
        return _named(cloud.of("iam.Role"), [name], "NoSuchEntity", 404)[0]

    def profile(asked: Asked, _: Identity) -> Content:
        name = str(asked.parameters["InstanceProfileName"])
        found = _named(cloud.of("iam.InstanceProfile"), [name], "NoSuchEntity", 404)[0]
        roles = [_role(cloud, the_role(found.inputs["role"]))] if "role" in found.inputs else []
        return {"InstanceProfile": {**_entity(cloud, "instance-profile", name), "Roles": roles}}

    def simulated(asked: Asked, _: Identity) -> Content:
        principal = front.identities.by_arn(str(asked.parameters["PolicySourceArn"]))
        if principal is None:
            raise Says("NoSuchEntity", "The entity cannot be found.", 404)
        return {
            "EvaluationResults": [
                {
                    "EvalActionName": action,
                    "EvalResourceName": resource,
                    "EvalDecision": "allowed"
                    if front.may(principal, action, resource)
                    else "implicitDeny",
                }
                for action in asked.parameters["ActionNames"]
                for resource in asked.parameters.get("ResourceArns", ["*"])
            ],
            "IsTruncated": False,
        }

    return {
        ("iam", "ListRoles"): lambda *_: {
            "Roles": [_role(cloud, each) for each in cloud.of("iam.Role")],
            "IsTruncated": False,
        },
        ("iam", "GetRole"): lambda asked, _: {
            "Role": _role(cloud, the_role(str(asked.parameters["RoleName"])))
        },
        ("iam", "ListRoleTags"): lambda asked, _: {
            "Tags": tags_of(the_role(str(asked.parameters["RoleName"]))),
            "IsTruncated": False,
        },
        ("iam", "GetInstanceProfile"): profile,
        ("iam", "SimulatePrincipalPolicy"): simulated,
        ("sts", "GetCallerIdentity"): lambda _, identity: {
            "Account": cloud.account,
            "Arn": identity.arn,
            "UserId": identity.key,
        },
    }


def _role(cloud: Cloud, thing: Thing) -> Content:
    policy = thing.inputs.get("assumeRolePolicy", "{}")
    return {**_entity(cloud, "role", thing.id), "AssumeRolePolicyDocument": policy}


def _entity(cloud: Cloud, kind: str, name: str) -> dict[str, Any]:
    word = "Role" if kind == "role" else "InstanceProfile"
    return {
        "Path": "/",
        f"{word}Name": name,
        f"{word}Id": f"AROA{name}",
        "Arn": f"arn:aws:iam::{cloud.account}:{kind}/{name}",
        "CreateDate": datetime(2026, 1, 1, tzinfo=UTC),
    }


def _secret(asked: Asked, secret: Callable[[str], Content | None]) -> Content:
    arn = str(asked.parameters["SecretId"])
    content = secret(arn)
    if content is None:
        raise Says(
            "ResourceNotFoundException", "Secrets Manager can't find the specified secret.", 400
        )
    return {
        "ARN": arn,
        "Name": arn.rpartition(":")[2],
        "VersionId": "00000000-0000-0000-0000-000000000000",
        "VersionStages": ["AWSCURRENT"],
        "SecretString": json.dumps(content),
    }


def _image(cloud: Cloud, asked: Asked) -> Content | None:
    """The vendor's parameter with its newest image; other parameters are moto's."""
    name = str(asked.parameters["Name"])
    if not name.startswith(IMAGE_PARAMETER):
        return None
    wanted = _DEBIAN.get(name.removeprefix(IMAGE_PARAMETER))
    newest = [image for image, architecture in cloud.images.items() if architecture == wanted]
    if not newest:
        raise Says("ParameterNotFound", name, 400)
    return {"Parameter": {"Name": name, "Type": "String", "Value": newest[-1], "Version": 1}}


def _tagged(cloud: Cloud, in_moto: Callable[[], list[Content]], asked: Asked) -> Content:
    """Everything with the wanted tags: moto's buckets and parameters too."""
    own = [
        {"ResourceARN": arn, "Tags": tags_of(thing)}
        for thing in cloud.all()
        if (arn := arn_of(cloud, thing)) is not None
    ]
    everything = [*own, *in_moto()]
    filters = asked.parameters.get("TagFilters", [])
    return {
        "PaginationToken": "",
        "ResourceTagMappingList": [each for each in everything if _fits(each["Tags"], filters)],
    }


def _fits(tags: Iterable[Mapping[str, str]], filters: Iterable[Mapping[str, Any]]) -> bool:
    has = {each["Key"]: each["Value"] for each in tags}
    return all(
        each["Key"] in has and (not each.get("Values") or has[each["Key"]] in each["Values"])
        for each in filters
    )


def _named(things: list[Thing], ids: Any, code: str, status: int = 400) -> list[Thing]:
    """Those with these ids, or all when none is wanted."""
    known = {each.id: each for each in things}
    if missing := [id_ for id_ in ids or [] if id_ not in known]:
        raise Says(code, f"{', '.join(missing)} does not exist", status)
    return [known[id_] for id_ in ids] if ids else things


def _filtered(asked: Asked, name: str) -> list[str]:
    return [
        value
        for each in asked.parameters.get("Filters", [])
        if each["Name"] == name
        for value in each["Values"]
    ]
