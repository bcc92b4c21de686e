"""The machine, its address, and the disk that outlives it."""

from dataclasses import dataclass

import pulumi
from pulumi_gcp import compute

from stacks.gcp import network as networks
from stacks.gcp.identity import Machine
from stacks.gcp.network import Network
from stacks.gcp.place import Place
from stacks.gcp.storage import Buckets

DATA_DEVICE = "trackstack-data"
"""The machine finds the disk as /dev/disk/by-id/google-trackstack-data."""


@dataclass(frozen=True)
class Server:
    """What was made.

    Attributes:
        address: the public one, which stays.
        instance: the machine's number.
    """

    address: pulumi.Output[str]
    instance: pulumi.Output[str]
    volume: pulumi.Output[str]


def declare(place: Place, network: Network, machine: Machine, buckets: Buckets) -> Server:
    """The machine on its own address, with its data disk."""
    plan = place.plan
    rules = networks.let_in(place, network, machine)
    address = compute.Address(
        "address",
        name=plan.name("address"),
        region=plan.region,
        address_type="EXTERNAL",
        labels=plan.all_labels("address"),
        opts=place.options(),
    )
    disk = _data_disk(place)
    instance = compute.Instance(
        "machine",
        name=plan.name("machine"),
        zone=plan.zone,
        machine_type=plan.machine_type,
        # Another machine type is a stop and a start, not another machine.
        allow_stopping_for_update=True,
        boot_disk=compute.InstanceBootDiskArgs(
            auto_delete=True,
            kms_key_self_link=plan.given.key,
            initialize_params=compute.InstanceBootDiskInitializeParamsArgs(
                image=plan.image,
                size=plan.root_gigabytes,
                type="pd-balanced",
                labels=plan.all_labels("root"),
            ),
        ),
        attached_disks=[
            compute.InstanceAttachedDiskArgs(
                source=disk.self_link, device_name=DATA_DEVICE, mode="READ_WRITE"
            )
        ],
        network_interfaces=[
            compute.InstanceNetworkInterfaceArgs(
                subnetwork=network.subnet,
                access_configs=[
                    compute.InstanceNetworkInterfaceAccessConfigArgs(nat_ip=address.address)
                ],
            )
        ],
        service_account=compute.InstanceServiceAccountArgs(
            email=machine.email, scopes=["cloud-platform"]
        ),
        shielded_instance_config=compute.InstanceShieldedInstanceConfigArgs(
            enable_secure_boot=True, enable_vtpm=True, enable_integrity_monitoring=True
        ),
        metadata={
            "enable-oslogin": "TRUE",
            "block-project-ssh-keys": "TRUE",
            "startup-script": plan.user_data,
        },
        labels=plan.all_labels("machine"),
        # The disk and the name can be on one machine only: the old one goes first.
        opts=place.options([*buckets.ready, *rules], delete_before_replace=True),
    )
    return Server(address.address, instance.instance_id, disk.id)


def _data_disk(place: Place) -> compute.Disk:
    """The disk for database, keys and MLflow's secrets, with a snapshot every day."""
    plan = place.plan
    key = plan.given.key
    disk = compute.Disk(
        "data",
        name=plan.name("data"),
        zone=plan.zone,
        type="pd-balanced",
        size=plan.data_gigabytes,
        disk_encryption_key=compute.DiskDiskEncryptionKeyArgs(kms_key_self_link=key)
        if key
        else None,
        labels=plan.all_labels("data"),
        opts=place.kept(),
    )
    schedule = compute.ResourcePolicy(
        "snapshots",
        name=plan.name("snapshots"),
        region=plan.region,
        description=f"Daily snapshots of {plan.name('data')}",
        snapshot_schedule_policy=compute.ResourcePolicySnapshotSchedulePolicyArgs(
            schedule=compute.ResourcePolicySnapshotSchedulePolicyScheduleArgs(
                daily_schedule=compute.ResourcePolicySnapshotSchedulePolicyScheduleDailyScheduleArgs(
                    days_in_cycle=1, start_time=plan.snapshot_time
                )
            ),
            retention_policy=compute.ResourcePolicySnapshotSchedulePolicyRetentionPolicyArgs(
                max_retention_days=plan.snapshot_days, on_source_disk_delete="KEEP_AUTO_SNAPSHOTS"
            ),
            snapshot_properties=compute.ResourcePolicySnapshotSchedulePolicySnapshotPropertiesArgs(
                labels=plan.all_labels("data"), storage_locations=plan.region
            ),
        ),
        opts=place.options(),
    )
    compute.DiskResourcePolicyAttachment(
        "data-snapshots",
        name=schedule.name,
        disk=disk.name,
        zone=plan.zone,
        opts=place.options(),
    )
    return disk
