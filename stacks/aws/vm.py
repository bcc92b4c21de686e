"""The machine, its address, and the disk that outlives it."""

from dataclasses import dataclass

import pulumi
from pulumi_aws import dlm, ebs, ec2

from stacks.aws import identity
from stacks.aws.identity import Machine
from stacks.aws.network import Network
from stacks.aws.place import Place

DATA_DEVICE = "/dev/sdf"
"""https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/device_naming.html"""


@dataclass(frozen=True)
class Server:
    """What was made.

    Attributes:
        address: the public one, which stays.
    """

    address: pulumi.Output[str]
    instance: pulumi.Output[str]
    volume: pulumi.Output[str]


def declare(place: Place, network: Network, machine: Machine) -> Server:
    """The machine on its own address, with its data disk."""
    plan = place.plan
    interface = ec2.NetworkInterface(
        "interface",
        subnet_id=network.subnet,
        security_groups=[network.machine_group.id],
        tags=plan.all_tags("interface"),
        opts=place.options(),
    )
    # On the interface before there is a machine: so its first boot has a way out.
    address = ec2.Eip(
        "address",
        domain="vpc",
        network_interface=interface.id,
        tags=plan.all_tags("address"),
        opts=place.options(depends_on=[*network.route]),
    )
    volume = _data_volume(place)
    instance = ec2.Instance(
        "machine",
        ami=plan.image,
        instance_type=plan.machine_type,
        primary_network_interface=ec2.InstancePrimaryNetworkInterfaceArgs(
            network_interface_id=interface.id
        ),
        iam_instance_profile=machine.profile,
        metadata_options=ec2.InstanceMetadataOptionsArgs(
            http_endpoint="enabled", http_tokens="required", http_put_response_hop_limit=1
        ),
        root_block_device=ec2.InstanceRootBlockDeviceArgs(
            volume_type="gp3",
            volume_size=plan.root_gigabytes,
            encrypted=True,
            kms_key_id=plan.given.key,
            delete_on_termination=True,
            tags=plan.all_tags("root"),
        ),
        ebs_optimized=True,
        user_data=plan.user_data,
        tags=plan.all_tags("machine"),
        # The interface and the disk can be on one machine only: the old one goes first.
        opts=place.options(
            depends_on=[address, *machine.policy, *network.route], delete_before_replace=True
        ),
    )
    ec2.VolumeAttachment(
        "data-attachment",
        device_name=DATA_DEVICE,
        volume_id=volume.id,
        instance_id=instance.id,
        # Or it would be torn away under the database.
        stop_instance_before_detaching=True,
        opts=place.options(delete_before_replace=True),
    )
    return Server(address.public_ip, instance.id, volume.id)


def _data_volume(place: Place) -> ebs.Volume:
    """The disk for database, keys and MLflow's secrets, with a snapshot every day."""
    plan = place.plan
    tags = plan.all_tags("data")
    volume = ebs.Volume(
        "data",
        availability_zone=plan.zones[0],
        type="gp3",
        size=plan.data_gigabytes,
        encrypted=True,
        kms_key_id=plan.given.key,
        tags=tags,
        opts=place.kept(),
    )
    role, permissions = identity.snapshot_role(place)
    dlm.LifecyclePolicy(
        "snapshots",
        # Letters, digits, spaces, '_' and '-' only.
        description=f"Daily snapshots of {plan.name('data', 255)}",
        execution_role_arn=role,
        state="ENABLED",
        policy_details=dlm.LifecyclePolicyPolicyDetailsArgs(
            resource_types=["VOLUME"],
            target_tags=tags,
            schedules=[
                dlm.LifecyclePolicyPolicyDetailsScheduleArgs(
                    name="daily",
                    create_rule=dlm.LifecyclePolicyPolicyDetailsScheduleCreateRuleArgs(
                        interval=24, interval_unit="HOURS", times=plan.snapshot_time
                    ),
                    retain_rule=dlm.LifecyclePolicyPolicyDetailsScheduleRetainRuleArgs(
                        interval=plan.snapshot_days, interval_unit="DAYS"
                    ),
                    copy_tags=True,
                )
            ],
        ),
        tags=plan.all_tags("snapshots"),
        opts=place.options(depends_on=permissions),
    )
    return volume
