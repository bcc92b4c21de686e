"""The network: made, or given; and who may reach the machine in it."""

from dataclasses import dataclass

import pulumi
from pulumi_gcp import compute, servicenetworking

from stacks.gcp.identity import Machine
from stacks.gcp.place import Place

_PEERED_PREFIX = 24


@dataclass(frozen=True)
class Network:
    """Where the machine and the database are.

    Attributes:
        peering: what has to be there before a database can be.
        project: the network's, in which its firewall rules are.
    """

    network: pulumi.Input[str]
    subnet: pulumi.Input[str]
    peering: list[pulumi.Resource]
    project: str


def declare(place: Place) -> Network:
    """The plan's network; what a database is in stays when the rest goes."""
    plan = place.plan
    given = plan.given.network
    if given:
        return Network(given.network, given.subnet, [], given.project)
    # A kept database keeps the network that its address is in.
    options = place.kept if plan.database else place.options
    network = compute.Network(
        "network",
        name=plan.name("network"),
        description=f"trackstack environment {plan.environment}",
        auto_create_subnetworks=False,
        routing_mode="REGIONAL",
        opts=options(),
    )
    subnet = compute.Subnetwork(
        "public",
        name=plan.name("public"),
        network=network.id,
        region=plan.region,
        ip_cidr_range=plan.cidr,
        # To buckets and secrets without leaving Google's network.
        private_ip_google_access=True,
        opts=place.options(),
    )
    peering = _peering(place, network) if plan.database else []
    return Network(network.id, subnet.id, peering, plan.project)


def _peering(place: Place, network: compute.Network) -> list[pulumi.Resource]:
    """The connection by which Google's own network, where Cloud SQL is, reaches this one."""
    plan = place.plan
    addresses = compute.GlobalAddress(
        "services",
        name=plan.name("services"),
        network=network.id,
        purpose="VPC_PEERING",
        address_type="INTERNAL",
        prefix_length=_PEERED_PREFIX,
        labels=plan.all_labels("services"),
        opts=place.kept(),
    )
    connection = servicenetworking.Connection(
        "services-connection",
        network=network.id,
        service="servicenetworking.googleapis.com",
        reserved_peering_ranges=[addresses.name],
        # Google holds on to it for days after the last database is gone, and would block a removal.
        deletion_policy="ABANDON",
        opts=place.kept(),
    )
    return [connection]


def let_in(place: Place, network: Network, machine: Machine) -> list[pulumi.Resource]:
    """Firewall: in, HTTPS from the allowed networks to this machine; nothing else is let in."""
    plan = place.plan
    rules: list[pulumi.Resource] = []
    # A rule takes addresses of one kind only.
    for version, name in ((4, "firewall"), (6, "firewall-6")):
        ranges = plan.networks(version)  # type: ignore[arg-type]
        if ranges:
            rules.append(
                compute.Firewall(
                    name,
                    name=plan.name(name),
                    project=network.project,
                    description="HTTPS from the allowed networks",
                    network=network.network,
                    direction="INGRESS",
                    priority=1000,
                    allows=[compute.FirewallAllowArgs(protocol="tcp", ports=["443"])],
                    source_ranges=ranges,
                    target_service_accounts=[machine.email],
                    opts=place.options(),
                )
            )
    return rules
