"""PostgreSQL, reachable from the machine only."""

from dataclasses import dataclass

import pulumi
from pulumi_aws import ec2, rds

from stacks.aws.network import POSTGRES, Network
from stacks.aws.place import Place
from trackstack.cloud_plan import Database

BACKUP_DAYS = 7


@dataclass(frozen=True)
class Made:
    """Where the database is, and the ARN of the secret that holds its first password.

    RDS makes that password, and another every week; it is in no state of the engine.
    """

    host: pulumi.Output[str]
    secret: pulumi.Output[str]


def declare(place: Place, database: Database, network: Network) -> Made:
    """An encrypted database that takes TLS only."""
    plan = place.plan
    group = ec2.SecurityGroup(
        "database-group",
        name=plan.name("database", 255),
        description="PostgreSQL from the machine",
        vpc_id=network.vpc,
        ingress=[
            ec2.SecurityGroupIngressArgs(
                description="PostgreSQL",
                protocol="tcp",
                from_port=POSTGRES,
                to_port=POSTGRES,
                security_groups=[network.machine_group.id],
            )
        ],
        tags=plan.all_tags("database-group"),
        opts=place.options(),
    )
    subnets = rds.SubnetGroup(
        "database-subnets",
        name=plan.name("database", 255),
        subnet_ids=network.database_subnets,
        tags=plan.all_tags("database-subnets"),
        opts=place.options(),
    )
    # The version is in the name: another major one needs a group of its own beside this one.
    settings = rds.ParameterGroup(
        "database-settings",
        name=plan.name(f"postgres{database.version}", 255),
        family=f"postgres{database.version}",
        parameters=[rds.ParameterGroupParameterArgs(name="rds.force_ssl", value="1")],
        tags=plan.all_tags("database-settings"),
        opts=place.options(),
    )
    made = rds.Instance(
        "database",
        identifier=plan.name("database"),
        engine="postgres",
        engine_version=database.version,
        instance_class=database.machine_class,
        allocated_storage=database.gigabytes,
        storage_type="gp3",
        storage_encrypted=True,
        kms_key_id=plan.given.key,
        db_name="mlflow",
        username="postgres",
        manage_master_user_password=True,
        master_user_secret_kms_key_id=plan.given.key,
        multi_az=database.multi_az,
        publicly_accessible=False,
        db_subnet_group_name=subnets.name,
        vpc_security_group_ids=[group.id],
        parameter_group_name=settings.name,
        backup_retention_period=BACKUP_DAYS,
        copy_tags_to_snapshot=True,
        auto_minor_version_upgrade=True,
        apply_immediately=True,
        deletion_protection=database.deletion_protection,
        skip_final_snapshot=database.final_snapshot is None,
        final_snapshot_identifier=database.final_snapshot,
        snapshot_identifier=database.from_snapshot,
        tags=plan.all_tags("database"),
        # Where it came from says nothing about what it is now, and would replace it.
        opts=place.options(ignore_changes=["snapshotIdentifier"]),
    )
    secret = made.master_user_secrets.apply(lambda secrets: secrets[0].secret_arn or "")
    return Made(made.address, secret)
