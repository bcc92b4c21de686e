"""The double itself: a double that accepts what the cloud refuses proves nothing."""

from typing import Any

import pytest

from engine import aws, schema
from engine.cloud import Cloud, Lost
from engine.conftest import Deployed
from engine.provider import kind_of

GROUP = {"fromPort": 443, "toPort": 443, "protocol": "tcp", "cidrBlocks": ["10.0.0.0/8"]}
MACHINE = {"ami": "ami-0", "instanceType": "t3.small"}
DATABASE = {"instanceClass": "db.t4g.micro", "skipFinalSnapshot": True, "allocatedStorage": 20}

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("aws:ec2/vpc:Vpc", {"cidr": "10.0.0.0/16"}, "is no property of this type"),
    ("aws:ec2/vpc:Vpc", {"cidrBlock": ["10.0.0.0/16"]}, "should be of kind str"),
    ("aws:ec2/vpc:Vpc", {"cidrBlock": "10.0.0.1/16"}, "not a valid IPv4 CIDR block"),
    ("aws:ec2/vpc:Vpc", {"cidrBlock": "10.0.0.0/8"}, "not between /16 and /28"),
    ("aws:ec2/vpc:Vpc", {"tags": {"aws:name": "x"}}, "InvalidParameterValue"),
    ("aws:ec2/subnet:Subnet", {"cidrBlock": "10.0.0.0/24"}, "is required and missing"),
    ("aws:ec2/securityGroup:SecurityGroup", {"name": "sg-team"}, "cannot begin with sg-"),
    (
        "aws:ec2/securityGroup:SecurityGroup",
        {"ingress": [{**GROUP, "cidrBlocks": ["2001:db8::/32"]}]},
        "not a valid IPv4 CIDR block",
    ),
    (
        "aws:ec2/securityGroup:SecurityGroup",
        {"ingress": [{**GROUP, "cidrBlocks": [f"10.0.{n}.0/24" for n in range(61)]}]},
        "RulesPerSecurityGroupLimitExceeded",
    ),
    (
        "aws:ec2/securityGroup:SecurityGroup",
        {"ingress": [{**GROUP, "ports": 443}]},
        "is no property of this type",
    ),
    ("aws:ec2/instance:Instance", {**MACHINE, "instanceType": "t3.tiny"}, "InvalidInstanceType"),
    (
        "aws:ec2/instance:Instance",
        {**MACHINE, "metadataOptions": {"httpTokens": "yes"}},
        "expected one of",
    ),
    ("aws:ec2/instance:Instance", {**MACHINE, "userData": "x" * 16385}, "limited to 16384 bytes"),
    ("aws:ebs/volume:Volume", {"availabilityZone": "eu-central-1a", "type": "ssd"}, "expected"),
    ("aws:s3/bucket:Bucket", {"bucket": "Team_Artifacts"}, "does not match"),
    ("aws:s3/bucket:Bucket", {"bucket": "a" * 64}, "does not match"),
    ("aws:s3/bucketPolicy:BucketPolicy", {"bucket": "abc", "policy": "{"}, "invalid JSON policy"),
    ("aws:iam/role:Role", {"name": "r" * 65, "assumeRolePolicy": "{}"}, "does not match"),
    ("aws:rds/instance:Instance", {**DATABASE, "identifier": "a--b"}, "does not match"),
    ("aws:rds/instance:Instance", {**DATABASE, "instanceClass": "t3.small"}, "expected one of"),
    (
        "aws:rds/instance:Instance",
        {**DATABASE, "skipFinalSnapshot": False},
        "is required when skip_final_snapshot is false",
    ),
    ("aws:rds/instance:Instance", {**DATABASE, "allocatedStorage": True}, "should be of kind int"),
]


@pytest.mark.parametrize(("type_", "inputs", "because"), REFUSED)
def test_it_refuses_what_aws_refuses(type_: str, inputs: dict[str, Any], because: str) -> None:
    problems = list(schema.problems(type_, inputs)) or list(aws.checks(kind_of(type_), inputs))
    told = "; ".join(f"{place}: {why}" for place, why in problems)
    assert because in told, f"told only: {told or 'nothing'}"


def test_it_knows_only_properties_that_the_sdk_knows(first_deploy: Deployed) -> None:
    for event in first_deploy.told:
        known = schema.outputs(event.type)
        rules = aws.KINDS[kind_of(event.type)]
        named = {*rules.replaces, *(name for name, _ in rules.needs), rules.autoname or "tags"}
        for thing in first_deploy.cloud.of(kind_of(event.type)):
            named |= thing.computed.keys()
        unknown = named - known - {"tags"}
        assert not unknown, f"{event.type} has no {unknown}"


def test_nothing_arrives_over_a_dead_run_s_connection_until_another_run_has_its_port(
    cloud: Cloud,
) -> None:
    line = "ipv4:127.0.0.1:40000"
    cloud.connect(line)
    cloud.hang_up()
    with pytest.raises(Lost):
        cloud.next_trouble("create", "ec2.Vpc", line)
    cloud.connect(line)
    assert cloud.next_trouble("create", "ec2.Vpc", line) is None
