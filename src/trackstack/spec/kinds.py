"""The kinds of values a spec holds: each with its rule, and with words for what would be right."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from trackstack import names

Asked = dict[str, Any]
"""What was asked: nested as in the file, only with the keys that were said."""

LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"  # noqa: S104  a value to recognise; asked for, never a default

EnvironmentName = Annotated[str, AfterValidator(names.environment)]
UserName = Annotated[str, AfterValidator(names.user)]
Port = Annotated[int, Field(ge=1024, le=65535)]
Workers = Annotated[int, Field(ge=1, le=64)]
Address = Annotated[str, AfterValidator(names.address)]
Hostname = Annotated[str, AfterValidator(names.host)]
Network = Annotated[str, AfterValidator(names.network)]
PemFile = Annotated[str, AfterValidator(names.pem_file)]
Database = Annotated[str, AfterValidator(names.database)]
Artifacts = Annotated[str, AfterValidator(names.artifacts)]
ArtifactsOrFolder = Annotated[str, AfterValidator(names.artifacts_or_folder)]
Image = Annotated[str, AfterValidator(names.image)]
Endpoint = Annotated[str, AfterValidator(names.endpoint)]
Package = Annotated[str, AfterValidator(names.requirement)]
MlflowVersion = Annotated[str, StringConstraints(pattern=r"^3\.[0-9]+\.[0-9]+$")]

Networks = Annotated[
    list[Annotated[str, AfterValidator(names.client_network)]], Field(min_length=1)
]
Region = Annotated[str, StringConstraints(pattern=r"^[a-z]+(-[a-z]+)+-?[0-9]+$")]
Gigabytes = Annotated[int, Field(ge=1, le=16384)]
Days = Annotated[int, Field(ge=1, le=1000)]
TimeOfDay = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]

RIGHT = {
    "environment": "a name, such as 'team-a'",
    "port": "a whole number from 1024 to 65535, such as 8080",
    "workers": "a whole number from 1 to 64, such as 2",
    "mlflow": "a version of MLflow 3, in quotes, such as '3.17.2'",
    "users": "a list of names, such as [ada, grace]",
    "protected": "true or false",
    "at_login": "true or false",
    "target": "'local', 'compose', 'aws' or 'gcp'",
    "server": "a group of keys such as port and workers",
    "stores": "a group of keys such as database and artifacts",
    "database": "an address such as 'postgresql://user@host:5432/name'",
    "artifacts": "a bucket such as 's3://bucket/folder'",
    "artifacts_endpoint": "an address such as 'https://s3.example.com'",
    "extra_packages": "a list of packages, such as [boto3]",
    "jupyter": "a group with the key port",
    "images": "a group with the key base",
    "base": "an image of Debian 13, such as 'debian:trixie-slim'",
    "listen": "an IPv4 address, such as '127.0.0.1'",
    "hostnames": "a list of names, such as [mlflow.example.com]",
    "tls": "own, files or upstream",
    "certificate": "the path of a PEM file",
    "key": "the path of a PEM file",
    "trusted_proxies": "a list of networks, such as [10.0.0.0/24]",
    "account": "an account's 12 digits, in quotes, such as '123456789012'",
    "region": "a region, such as 'eu-central-1'",
    "project": "a project's id, such as 'team-project'",
    "zone": "a zone, such as 'us-central1-a'",
    "zones": "a list of zones, such as [eu-central-1a, eu-central-1b]",
    "allow": "a list of networks, such as [198.51.100.0/24]",
    "tags": "names and values, such as {team: vision}",
    "machine": "a group of keys such as type and data_gigabytes",
    "backups": "a group of keys such as snapshot_days and snapshot_time",
    "given": "a group of keys such as network and artifact_bucket",
    "kind": "sqlite or postgres",
    "root_gigabytes": "a whole number of gigabytes, such as 20",
    "data_gigabytes": "a whole number of gigabytes, such as 20",
    "gigabytes": "a whole number of gigabytes, such as 20",
    "old_versions_days": "a whole number of days, such as 30",
    "snapshot_days": "a whole number of days, such as 7",
    "snapshot_time": "a time in UTC, in quotes, such as '03:00'",
    "high_availability": "true or false",
    "version": "a version of PostgreSQL, in quotes, such as '17'",
}

EACH = {
    "users": "a name, such as ada",
    "hostnames": "a name, such as mlflow.example.com",
    "trusted_proxies": "a network, such as 10.0.0.0/24",
    "extra_packages": "a package, such as boto3",
    "allow": "a network, such as 198.51.100.0/24",
    "zones": "a zone, such as eu-central-1a",
}
"""What one of a list should be."""


class Strict(BaseModel):
    """A frozen group of keys; an unknown key, or a value of another kind, is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)
