"""Who may do what: the machine's role, and the one that makes snapshots."""

from dataclasses import dataclass

import pulumi
from pulumi_aws import iam

from stacks.aws.place import Place
from stacks.aws.storage import Buckets
from trackstack.templating import render

LONGEST = 64
"""https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html"""


@dataclass(frozen=True)
class Machine:
    """What the machine acts as.

    Attributes:
        profile: the instance profile's name.
        role: the role in it; None when it is given.
        policy: what it may do, to be there before the machine starts.
    """

    profile: pulumi.Input[str]
    role: iam.Role | None
    policy: list[pulumi.Resource]


def machine(place: Place, buckets: Buckets) -> Machine:
    """The machine's identity; a given one must bring its permissions along."""
    plan = place.plan
    if plan.given.machine_profile:
        return Machine(plan.given.machine_profile, None, [])
    role = _role(place, "machine-role", "ec2.amazonaws.com")
    policy = iam.RolePolicy(
        "machine-policy",
        name="stores",
        role=role.name,
        policy=pulumi.Output.all(buckets.control, buckets.artifacts).apply(
            lambda names: render(
                "policies/aws-machine.json.j2",
                {
                    "partition": plan.partition,
                    "control": names[0],
                    "artifacts": names[1],
                    "key": plan.given.key,
                    "region": plan.region,
                },
            )
        ),
        opts=place.options(),
    )
    profile = iam.InstanceProfile(
        "machine-profile",
        name=plan.global_name("machine", LONGEST),
        role=role.name,
        tags=plan.all_tags("machine-profile"),
        opts=place.options(),
    )
    return Machine(profile.name, role, [policy])


def may_read_secret(place: Place, machine: Machine, secret: pulumi.Output[str]) -> None:
    """Let the machine read the database's first password.

    A policy of its own, so that the machine starts while the database is still being made.
    """
    if machine.role is None:
        return
    plan = place.plan
    iam.RolePolicy(
        "machine-database-policy",
        name="database",
        role=machine.role.name,
        policy=secret.apply(
            lambda arn: render(
                "policies/aws-machine-database.json.j2",
                {"secret": arn, "key": plan.given.key, "region": plan.region},
            )
        ),
        opts=place.options(),
    )


def snapshot_role(place: Place) -> tuple[pulumi.Input[str], list[pulumi.Resource]]:
    """The role that makes snapshots, and what it has to have before it can."""
    plan = place.plan
    if plan.given.snapshot_role:
        return plan.given.snapshot_role, []
    role = _role(place, "snapshots-role", "dlm.amazonaws.com")
    # https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSDataLifecycleManagerServiceRole.html
    policy = iam.RolePolicyAttachment(
        "snapshots-policy",
        role=role.name,
        policy_arn=f"arn:{plan.partition}:iam::aws:policy/service-role/AWSDataLifecycleManagerServiceRole",
        opts=place.options(),
    )
    return role.arn, [policy]


def _role(place: Place, name: str, service: str) -> iam.Role:
    plan = place.plan
    return iam.Role(
        name,
        name=plan.global_name(name.removesuffix("-role"), LONGEST),
        assume_role_policy=render("policies/aws-service-role.json.j2", {"service": service}),
        permissions_boundary=plan.given.permissions_boundary,
        tags=plan.all_tags(name),
        opts=place.options(),
    )
