"""The network: made, or given; and who may reach the machine in it."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import ec2

from stacks.aws.place import Place

POSTGRES = 5432


@dataclass(frozen=True)
class Network:
    """Where the machine and the database are.

    Attributes:
        machine_group: the machine's security group.
        route: what has to be there before the machine reaches anything.
    """

    vpc: pulumi.Input[str]
    subnet: pulumi.Input[str]
    database_subnets: Sequence[pulumi.Input[str]]
    machine_group: ec2.SecurityGroup
    route: Sequence[pulumi.Resource]


def declare(place: Place) -> Network:
    """The plan's network, and the machine's security group in it."""
    given = place.plan.given.network
    if given:
        group = _machine_group(place, given.vpc, given.cidr)
        return Network(given.vpc, given.subnet, given.database_subnets, group, [])
    plan = place.plan
    public, *private = plan.subnets
    vpc = ec2.Vpc(
        "network",
        cidr_block=plan.cidr,
        enable_dns_support=True,
        enable_dns_hostnames=True,
        tags=plan.all_tags("network"),
        opts=place.options(),
    )
    subnet = _subnet(place, vpc, "public", public, plan.zones[0])
    zones = plan.zones if plan.database else ()
    database_subnets = [
        _subnet(place, vpc, f"private-{number}", cidr, zone).id
        for number, (cidr, zone) in enumerate(zip(private, zones, strict=False), start=1)
    ]
    route = _way_out(place, vpc, subnet)
    group = _machine_group(place, vpc.id, plan.cidr)
    return Network(vpc.id, subnet.id, database_subnets, group, route)


def _subnet(place: Place, vpc: ec2.Vpc, name: str, cidr: str, zone: str) -> ec2.Subnet:
    # No address of its own for what starts here: the machine's is attached to its interface.
    return ec2.Subnet(
        name,
        vpc_id=vpc.id,
        cidr_block=cidr,
        availability_zone=zone,
        map_public_ip_on_launch=False,
        tags=place.plan.all_tags(name),
        opts=place.options(),
    )


def _way_out(place: Place, vpc: ec2.Vpc, subnet: ec2.Subnet) -> list[pulumi.Resource]:
    """The public subnet's routes: to the internet, and to S3 without leaving AWS."""
    plan = place.plan
    gateway = ec2.InternetGateway(
        "gateway", vpc_id=vpc.id, tags=plan.all_tags("gateway"), opts=place.options()
    )
    table = ec2.RouteTable(
        "routes", vpc_id=vpc.id, tags=plan.all_tags("routes"), opts=place.options()
    )
    internet = ec2.Route(
        "internet",
        route_table_id=table.id,
        destination_cidr_block="0.0.0.0/0",
        gateway_id=gateway.id,
        opts=place.options(),
    )
    association = ec2.RouteTableAssociation(
        "public-routes", route_table_id=table.id, subnet_id=subnet.id, opts=place.options()
    )
    # Gateway endpoints cost nothing: https://docs.aws.amazon.com/vpc/latest/privatelink/gateway-endpoints.html
    ec2.VpcEndpoint(
        "s3",
        vpc_id=vpc.id,
        service_name=f"com.amazonaws.{plan.region}.s3",
        vpc_endpoint_type="Gateway",
        route_table_ids=[table.id],
        tags=plan.all_tags("s3"),
        opts=place.options(),
    )
    return [internet, association]


def _machine_group(
    place: Place, vpc: pulumi.Input[str], inside: pulumi.Input[str]
) -> ec2.SecurityGroup:
    """In: HTTPS from the allowed networks. Out: the web, for packages and AWS, and the database.

    The rules stand in the group itself: a change of the allow list is one change in place, and a
    rule that somebody added by hand goes with the next deploy.
    """
    plan = place.plan
    egress = [
        ec2.SecurityGroupEgressArgs(
            description="Packages and AWS",
            protocol="tcp",
            from_port=port,
            to_port=port,
            cidr_blocks=["0.0.0.0/0"],
            ipv6_cidr_blocks=["::/0"],
        )
        for port in (80, 443)
    ]
    if plan.database:
        egress.append(
            ec2.SecurityGroupEgressArgs(
                description="Database",
                protocol="tcp",
                from_port=POSTGRES,
                to_port=POSTGRES,
                cidr_blocks=[inside],
            )
        )
    return ec2.SecurityGroup(
        "machine-group",
        name=plan.name("machine", 255),
        description="HTTPS from the allowed networks",
        vpc_id=vpc,
        ingress=[
            ec2.SecurityGroupIngressArgs(
                description="HTTPS",
                protocol="tcp",
                from_port=443,
                to_port=443,
                cidr_blocks=plan.networks(4),
                ipv6_cidr_blocks=plan.networks(6),
            )
        ],
        egress=egress,
        tags=plan.all_tags("machine-group"),
        opts=place.options(),
    )
