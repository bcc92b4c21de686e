"""PostgreSQL on a private address, reachable from the machine's network only."""

from dataclasses import dataclass

import pulumi
from pulumi_gcp import secretmanager, sql

from stacks.gcp.network import Network
from stacks.gcp.place import Place
from trackstack.cloud_plan import GcpDatabase

BACKUPS = 7
LOG_DAYS = 7
"""How far back it can be restored to any moment."""


@dataclass(frozen=True)
class Made:
    """Where the database is, and the name of the secret with its first password."""

    host: pulumi.Output[str]
    secret: pulumi.Output[str]


def declare(place: Place, database: GcpDatabase, network: Network, password: str) -> Made:
    """An encrypted database that takes TLS only; its password is in no state of the engine."""
    plan = place.plan
    made = sql.DatabaseInstance(
        "database",
        name=plan.name("database"),
        region=plan.region,
        database_version=f"POSTGRES_{database.version}",
        encryption_key_name=plan.given.key,
        # The engine's own, and below Google's own.
        deletion_protection=database.deletion_protection,
        settings=sql.DatabaseInstanceSettingsArgs(
            tier=database.tier,
            edition="ENTERPRISE",
            availability_type="REGIONAL" if database.regional else "ZONAL",
            activation_policy="NEVER" if database.stopped else "ALWAYS",
            deletion_protection_enabled=database.deletion_protection,
            disk_size=database.gigabytes,
            disk_type="PD_SSD",
            disk_autoresize=True,
            user_labels=plan.all_labels("database"),
            ip_configuration=sql.DatabaseInstanceSettingsIpConfigurationArgs(
                ipv4_enabled=False, private_network=network.network, ssl_mode="ENCRYPTED_ONLY"
            ),
            backup_configuration=sql.DatabaseInstanceSettingsBackupConfigurationArgs(
                enabled=True,
                start_time=plan.snapshot_time,
                point_in_time_recovery_enabled=True,
                transaction_log_retention_days=LOG_DAYS,
                backup_retention_settings=sql.DatabaseInstanceSettingsBackupConfigurationBackupRetentionSettingsArgs(
                    retained_backups=BACKUPS, retention_unit="COUNT"
                ),
            ),
        ),
        # It grows by itself; its size then is no change.
        opts=place.kept(network.peering, ignore_changes=["settings.diskSize"]),
    )
    sql.Database("mlflow", name="mlflow", instance=made.name, opts=place.kept())
    hidden = pulumi.Output.secret(password)
    user = sql.User(
        "first-user",
        name="postgres",
        instance=made.name,
        password_wo=hidden,
        password_wo_version=database.password_version,
        # Another one each time, and taken with another number only.
        opts=place.kept(ignore_changes=["passwordWo"]),
    )
    secret = secretmanager.Secret(
        "database-password",
        secret_id=plan.name("database-password", 255),
        labels=plan.all_labels("database-password"),
        replication=secretmanager.SecretReplicationArgs(
            user_managed=secretmanager.SecretReplicationUserManagedArgs(
                replicas=[
                    secretmanager.SecretReplicationUserManagedReplicaArgs(location=plan.region)
                ]
            )
        ),
        opts=place.kept(),
    )
    secretmanager.SecretVersion(
        "database-password-version",
        secret=secret.id,
        secret_data_wo=hidden,
        secret_data_wo_version=str(database.password_version),
        opts=place.kept([user], ignore_changes=["secretDataWo"]),
    )
    return Made(made.private_ip_address, secret.id)
