"""What an environment has in an AWS account, by the account's own word and not by the state's."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from trackstack.cloud_plan import ENVIRONMENT_TAG, KIT, KIT_TAG
from trackstack.control.s3_failures import code
from trackstack.targets.account import Say, Snapshot, Unfinished
from trackstack.targets.base import Kept

Clients = Callable[[str], Any]
"""A client of a service, by the service's name."""

_GONE_STATES = {"terminated", "shutting-down", "deleted", "deleting"}
_NAMED_BY = {
    "aws:s3/bucket:Bucket": "bucket",
    "aws:iam/role:Role": "name",
    "aws:iam/instanceProfile:InstanceProfile": "name",
    "aws:rds/subnetGroup:SubnetGroup": "name",
    "aws:rds/parameterGroup:ParameterGroup": "name",
}
"""Types whose id is a name that the program gave, with the property that holds it."""

_ARN_KINDS = {
    "aws:ec2/vpc:Vpc": "vpc",
    "aws:ec2/subnet:Subnet": "subnet",
    "aws:ec2/internetGateway:InternetGateway": "internet-gateway",
    "aws:ec2/routeTable:RouteTable": "route-table",
    "aws:ec2/vpcEndpoint:VpcEndpoint": "vpc-endpoint",
    "aws:ec2/securityGroup:SecurityGroup": "security-group",
    "aws:ec2/networkInterface:NetworkInterface": "network-interface",
    "aws:ec2/eip:Eip": "elastic-ip",
    "aws:ec2/instance:Instance": "instance",
    "aws:ebs/volume:Volume": "volume",
    "aws:dlm/lifecyclePolicy:LifecyclePolicy": "policy",
    "aws:rds/instance:Instance": "db",
}
"""Types that AWS numbers, with the kind in their ARN.

Of the others none is looked for: they are settings of something else, and making one again sets
it again.
"""


def find(clients: Clients, left: Unfinished) -> str | None:
    """The id of something that a killed run may have made, or None."""
    tags = left.inputs.get("tags")
    if left.type in _NAMED_BY:
        name = str(left.inputs.get(_NAMED_BY[left.type], ""))
        return name if _is_there(clients, left.type, name) else None
    kind = _ARN_KINDS.get(left.type)
    if kind is None or not isinstance(tags, Mapping):
        return None
    filters = [{"Key": key, "Values": [value]} for key, value in tags.items() if value]
    for arn in _arns(clients("resourcegroupstaggingapi"), filters):
        found = arn.split(":", 5)[5]
        if found.replace(":", "/").split("/")[0] == kind:
            id_ = found.replace(":", "/").split("/")[-1]
            if kind != "instance" or _lives(clients("ec2"), id_):
                return id_
    return None


def tagged(clients: Clients, environment: str) -> Iterator[Kept]:
    """All that carries the environment's tag and is not on its way out."""
    filters = [
        {"Key": KIT_TAG, "Values": [KIT]},
        {"Key": ENVIRONMENT_TAG, "Values": [environment]},
    ]
    for arn in _arns(clients("resourcegroupstaggingapi"), filters):
        service, what = arn.split(":")[2], arn.split(":", 5)[5]
        id_ = what.replace(":", "/").split("/")[-1]
        if what.startswith("instance/") and not _lives(clients("ec2"), id_):
            continue
        yield Kept(name=arn, why=f"it carries the tags of {environment!r}", how=_how(service, what))
    # IAM's tags are told by no other service.
    for role in _roles(clients("iam"), environment):
        yield Kept(
            name=role,
            why=f"its name is one of {environment!r}",
            how=f"aws iam delete-role --role-name {role}",
        )


def remove_versions(
    s3: Any, bucket: str, prefix: str, *, whole_name: bool = False, say: Say = lambda _: None
) -> None:
    """Remove every version of every object, and unfinished uploads, below a prefix.

    Args:
        s3: the client.
        bucket: which; one that is gone is fine.
        prefix: names begin so.
        whole_name: the prefix is a file's or folder's whole name, before '.', '/' or nothing.
        say: told how many are gone so far.
    """
    gone = 0
    try:
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
            each = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            named = [
                {"Key": one["Key"], "VersionId": one["VersionId"]}
                for one in each
                if not whole_name or one["Key"][len(prefix) :][:1] in ("", ".", "/")
            ]
            if named:
                answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": named, "Quiet": True})
                gone += len(named) - len(answer.get("Errors", []))
                say(f"{gone:,} objects removed from {bucket}")
        if not prefix:
            for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
                for upload in page.get("Uploads", []):
                    s3.abort_multipart_upload(
                        Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )
    except ClientError as error:
        if code(error) != "NoSuchBucket":
            raise


def final_snapshots(rds: Any, environment: str) -> list[Snapshot]:
    """The databases' last snapshots of an environment, the newest first."""
    pages = rds.get_paginator("describe_db_snapshots").paginate(SnapshotType="manual")
    found = [
        Snapshot(name=each["DBSnapshotIdentifier"], made=each["SnapshotCreateTime"])
        for page in pages
        for each in page["DBSnapshots"]
        if {"Key": ENVIRONMENT_TAG, "Value": environment} in each.get("TagList", [])
    ]
    return sorted(found, key=lambda snapshot: snapshot.made, reverse=True)


def _arns(tagging: Any, filters: list[dict[str, Any]]) -> Iterator[str]:
    for page in tagging.get_paginator("get_resources").paginate(TagFilters=filters):
        for each in page["ResourceTagMappingList"]:
            yield str(each["ResourceARN"])


def _lives(ec2: Any, instance: str) -> bool:
    """A machine that has ended is told by its tags for another hour."""
    try:
        answer = ec2.describe_instances(InstanceIds=[instance])
    except ClientError as error:
        if code(error).startswith("InvalidInstanceID"):
            return False
        raise
    return any(
        each["State"]["Name"] not in _GONE_STATES
        for reservation in answer["Reservations"]
        for each in reservation["Instances"]
    )


def _roles(iam: Any, environment: str) -> Iterator[str]:
    beginning = f"{KIT}-{environment}-"
    for page in iam.get_paginator("list_roles").paginate():
        for role in page["Roles"]:
            if role["RoleName"].startswith(beginning):
                tags = iam.list_role_tags(RoleName=role["RoleName"])["Tags"]
                if {"Key": ENVIRONMENT_TAG, "Value": environment} in tags:
                    yield str(role["RoleName"])


def _is_there(clients: Clients, type_: str, name: str) -> bool:
    kind = type_.rpartition("/")[2]
    asked: dict[str, Callable[[], Any]] = {
        "bucket:Bucket": lambda: clients("s3").head_bucket(Bucket=name),
        "role:Role": lambda: clients("iam").get_role(RoleName=name),
        "instanceProfile:InstanceProfile": lambda: clients("iam").get_instance_profile(
            InstanceProfileName=name
        ),
        "subnetGroup:SubnetGroup": lambda: clients("rds").describe_db_subnet_groups(
            DBSubnetGroupName=name
        ),
        "parameterGroup:ParameterGroup": lambda: clients("rds").describe_db_parameter_groups(
            DBParameterGroupName=name
        ),
    }
    try:
        asked[kind]()
    except ClientError as error:
        if code(error) in {"404", "NoSuchBucket", "NoSuchEntity"} or "NotFound" in code(error):
            return False
        raise
    return True


def _how(service: str, what: str) -> str | None:
    """The command that removes something, where there is a simple one."""
    if service == "ssm":
        return f"aws ssm delete-parameter --name {what.removeprefix('parameter')}"
    kind, _, id_ = what.replace(":", "/").rpartition("/")
    ways = {
        ("s3", ""): f"aws s3 rb s3://{id_} --force",
        ("ec2", "volume"): f"aws ec2 delete-volume --volume-id {id_}",
        ("ec2", "snapshot"): f"aws ec2 delete-snapshot --snapshot-id {id_}",
        ("rds", "snapshot"): f"aws rds delete-db-snapshot --db-snapshot-identifier {id_}",
        ("ec2", "instance"): f"aws ec2 terminate-instances --instance-ids {id_}",
    }
    return ways.get((service, kind))
