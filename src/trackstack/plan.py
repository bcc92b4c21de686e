"""The plan: everything that will exist, as data. No clock, no disk, no network here."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import ValidationError

from trackstack import compose_plan, lock
from trackstack.cloud_plan import Aws, Cloud, Database, Gcp, GcpDatabase, bucket_name
from trackstack.compose_plan import Compose
from trackstack.desired import Part
from trackstack.errors import UsageError
from trackstack.outputs import Outputs
from trackstack.spec import (
    EVERYWHERE,
    LOOPBACK,
    AwsSpec,
    ComposeSpec,
    GcpSpec,
    LocalSpec,
    Server,
    Spec,
)

HTTPS = 443

_SQLITE = "sqlite:///data/mlflow.db"
_IMPATIENT = "connect_timeout=3&tcp_user_timeout=2000"
"""How MLflow connects to a database beside it: one that is away costs it seconds, not a quarter of
an hour for each request. See https://www.postgresql.org/docs/current/libpq-connect.html."""
_UNKNOWN_HOST = "not-made-yet"
"""Stands for a database's host until the cloud has given it one."""


class Nginx(Part):
    """The front: where it listens and the names it answers to.

    Attributes:
        address: the one it listens on.
        names: what clients call it, the preferred one first.
        hosts: the values of the Host header that are let in.
        tls: 'none' on loopback; else whose certificate it shows: its 'own', one from 'files',
            or none because an 'upstream' proxy has one.
        certificate: a PEM file's path, with tls 'files'.
        key: likewise.
        proxies: networks of the proxies before it, whose word on a client's address counts.
    """

    address: str
    port: int
    names: tuple[str, ...] = (LOOPBACK,)
    hosts: tuple[str, ...]
    tls: Literal["none", "own", "files", "upstream"] = "none"
    certificate: str | None = None
    key: str | None = None
    proxies: tuple[str, ...] = ()


class Mlflow(Part):
    """The tracking server.

    Attributes:
        database: a SQLAlchemy address without a password; a file is relative to the machine's
            folder.
        artifacts: a bucket, or a folder relative to the machine's; clients reach it by the proxy
            only.
        artifacts_endpoint: where the bucket's API is; None for the cloud's own.
        secrets: how often the stores' credentials were given anew.
    """

    version: str
    workers: int
    database: str
    artifacts: str
    artifacts_endpoint: str | None = None
    secrets: int = 0

    @property
    def stores(self) -> tuple[str, str, str | None, int]:
        """Where runs and artifacts are, and with which credentials."""
        return self.database, self.artifacts, self.artifacts_endpoint, self.secrets


class Plan(Part):
    """What will exist in one environment.

    Attributes:
        packages: the server's package lock, a requirements file with hashes.
        cloud: what will exist in a cloud; None on this computer.
        compose: the workspace in Docker around the server; None elsewhere.
    """

    target: Literal["local", "compose", "aws", "gcp"]
    environment: str
    nginx: Nginx
    mlflow: Mlflow
    packages: str
    cloud: Cloud | None = None
    compose: Compose | None = None

    def brief(self) -> dict[str, Any]:
        """The plan for a reader: the lock's packages are counted, not listed."""
        content = _dumped(self)
        content["packages"] = len(lock.versions(self.packages))
        if self.compose:
            counted = len(lock.versions(self.compose.jupyter_packages))
            content["compose"]["jupyter_packages"] = counted
        if self.cloud:
            content["cloud"]["user_data"] = f"{len(self.cloud.user_data.encode())} bytes"
        return content


class Difference(Part):
    """One value that will change, or be made when `before` is None."""

    key: str
    before: str | None
    after: str


def make_plan(
    spec: Spec,
    packages: str,
    secrets: int = 0,
    user_data: str = "",
    also_allowed: Sequence[str] = (),
    *,
    jupyter_packages: str = "",
) -> Plan:
    """Turn a spec into the plan.

    Args:
        spec: with every value decided.
        packages: the server's package lock.
        secrets: how often credentials of outer stores were given.
        user_data: what a cloud's machine is started with.
        also_allowed: networks that may connect for now, beside the spec's.
        jupyter_packages: the lock of a workspace's JupyterLab.

    Raises:
        UsageError: each value is one that can be, and together they cannot.
    """
    if isinstance(spec, ComposeSpec):
        return _workspace_plan(spec, packages, secrets, jupyter_packages)
    if not isinstance(spec, LocalSpec):
        return _cloud_plan(spec, packages, user_data, also_allowed)
    return Plan(
        target=spec.target,
        environment=spec.environment,
        nginx=_nginx(spec.server),
        mlflow=Mlflow(
            version=spec.server.mlflow,
            workers=spec.server.workers,
            # The driver by name: SQLAlchemy 2.0 and 2.1 differ in which they take unasked.
            database=(spec.stores.database or _SQLITE).replace(
                "postgresql:", "postgresql+psycopg:", 1
            ),
            artifacts=spec.stores.artifacts or "data/artifacts",
            artifacts_endpoint=spec.stores.artifacts_endpoint,
            secrets=secrets,
        ),
        packages=packages,
    )


def _workspace_plan(spec: ComposeSpec, packages: str, secrets: int, jupyter_packages: str) -> Plan:
    server, stores = spec.server, spec.stores
    here = () if server.listen == EVERYWHERE else (server.listen,)
    local = (LOOPBACK, "localhost") if server.listen == LOOPBACK else here
    names = tuple(dict.fromkeys((*server.hostnames, *local, compose_plan.TRACKING)))
    hosts = dict.fromkeys((*names, LOOPBACK, "localhost"))
    return Plan(
        target="compose",
        environment=spec.environment,
        nginx=Nginx(
            address=EVERYWHERE,
            port=server.port,
            names=names,
            hosts=tuple(f"{name}:{server.port}" for name in hosts),
            tls="own",
        ),
        mlflow=Mlflow(
            version=server.mlflow,
            workers=server.workers,
            database=f"{compose_plan.DATABASE}&{_IMPATIENT}",
            artifacts=stores.bucket
            or (compose_plan.FOLDER if stores.folder else compose_plan.SFTP),
            artifacts_endpoint=stores.artifacts_endpoint,
            secrets=secrets,
        ),
        packages=packages,
        compose=Compose(
            listen=server.listen,
            jupyter_port=spec.jupyter.port,
            jupyter_packages=jupyter_packages,
            base=spec.images.base,
            folder=stores.folder,
            tracking=next(name for name in names if _is_of_a_network(name)),
        ),
    )


def _is_of_a_network(name: str) -> bool:
    """Whether a container may call another computer so."""
    return name != "localhost" and not name.replace(".", "").isdigit()


def control_address(spec: AwsSpec | GcpSpec) -> str:
    """Where the machine of a cloud finds its control store."""
    if isinstance(spec, GcpSpec):
        return f"gs://{_bucket(spec, 'control')}"
    return f"s3://{_bucket(spec, 'control')}?region={spec.region}&owner={spec.account}"


def _bucket(spec: AwsSpec | GcpSpec, part: str) -> str:
    owner = spec.project_number if isinstance(spec, GcpSpec) else spec.account
    return bucket_name(spec.environment, owner, spec.region, part)


def _cloud_plan(
    spec: AwsSpec | GcpSpec, packages: str, user_data: str, also_allowed: Sequence[str]
) -> Plan:
    allow = tuple(dict.fromkeys((*spec.allow, *also_allowed)))
    try:
        cloud = (
            _gcp(spec, user_data, allow)
            if isinstance(spec, GcpSpec)
            else _aws(spec, user_data, allow)
        )
    except ValidationError as error:
        raise UsageError(
            f"Environment {spec.environment!r} cannot be made so: {_first_of(error)}.",
            "Change it in the spec, or by its flag.",
        ) from error
    # The machine's own role of the database, with a password that only the machine knows.
    database = (
        f"postgresql+psycopg://mlflow@{_UNKNOWN_HOST}:5432/mlflow?sslmode=require&{_IMPATIENT}"
    )
    return Plan(
        target=cloud.cloud,
        environment=spec.environment,
        nginx=_settled(
            Nginx(
                address=EVERYWHERE,
                port=HTTPS,
                names=tuple(spec.server.hostnames),
                hosts=(),
                tls="own",
            )
        ),
        mlflow=Mlflow(
            version=spec.server.mlflow,
            workers=spec.server.workers,
            database=database if cloud.database else _SQLITE,
            artifacts=f"{'s3' if cloud.cloud == 'aws' else 'gs'}://{cloud.artifact_bucket}",
            secrets=1 if cloud.database else 0,
        ),
        packages=packages,
        cloud=cloud,
    )


def _first_of(error: ValidationError) -> str:
    """The first thing that is wrong: where, unless it is about several values, and why."""
    problem = error.errors(include_url=False)[0]
    where = ".".join(map(str, problem["loc"]))
    why = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {why}" if where else why


def _aws(spec: AwsSpec, user_data: str, allow: tuple[str, ...]) -> Aws:
    database = spec.database
    return Aws(
        environment=spec.environment,
        account=spec.account,
        region=spec.region,
        zones=tuple(spec.zones),
        cidr=spec.cidr,
        image=spec.machine.image,
        machine_type=spec.machine.type,
        root_gigabytes=spec.machine.root_gigabytes,
        data_gigabytes=spec.machine.data_gigabytes,
        allow=allow,
        database=Database(
            version=database.version,
            machine_class=database.size,
            gigabytes=database.gigabytes,
            multi_az=database.high_availability,
            final_snapshot=None,
        )
        if database.kind == "postgres"
        else None,
        control_bucket=_bucket(spec, "control"),
        artifact_bucket=spec.given.artifact_bucket or _bucket(spec, "artifacts"),
        old_versions_days=spec.backups.old_versions_days,
        snapshot_days=spec.backups.snapshot_days,
        snapshot_time=spec.backups.snapshot_time,
        given=spec.given,
        user_data=user_data,
        tags=spec.tags,
    )


def _gcp(spec: GcpSpec, user_data: str, allow: tuple[str, ...]) -> Gcp:
    database = spec.database
    return Gcp(
        environment=spec.environment,
        project=spec.project,
        project_number=spec.project_number,
        region=spec.region,
        zone=spec.zone,
        image=spec.machine.image,
        machine_type=spec.machine.type,
        root_gigabytes=spec.machine.root_gigabytes,
        data_gigabytes=spec.machine.data_gigabytes,
        allow=allow,
        database=GcpDatabase(
            version=database.version,
            tier=database.size,
            gigabytes=database.gigabytes,
            regional=database.high_availability,
        )
        if database.kind == "postgres"
        else None,
        control_bucket=_bucket(spec, "control"),
        artifact_bucket=spec.given.artifact_bucket or _bucket(spec, "artifacts"),
        old_versions_days=spec.backups.old_versions_days,
        snapshot_days=spec.backups.snapshot_days,
        snapshot_time=spec.backups.snapshot_time,
        given=spec.given,
        user_data=user_data,
        tags=spec.tags,
    )


def with_outputs(plan: Plan, outputs: Outputs) -> Plan:
    """The plan with what only the cloud could say: its address, and where its database is."""
    if plan.cloud is None or outputs.address is None:
        return plan
    names = (*plan.nginx.names, outputs.address)
    database = plan.mlflow.database.replace(_UNKNOWN_HOST, outputs.database_host or _UNKNOWN_HOST)
    return plan.model_copy(
        update={
            "nginx": _settled(plan.nginx.model_copy(update={"names": names})),
            "mlflow": plan.mlflow.model_copy(update={"database": database}),
        }
    )


def _settled(nginx: Nginx) -> Nginx:
    """With the Hosts that go with the names, on a port that clients leave out."""
    hosts = tuple(f"{name}:{nginx.port}" for name in (*nginx.names, LOOPBACK, "localhost"))
    return nginx.model_copy(update={"hosts": hosts})


def _nginx(server: Server) -> Nginx:
    own = () if server.listen == EVERYWHERE or not server.beyond_loopback else (server.listen,)
    names = tuple(dict.fromkeys((*server.hostnames, *own))) or (LOOPBACK,)
    local = (LOOPBACK, "localhost")
    hosts = [f"{name}:{server.port}" for name in (*local, *names)]
    if server.tls == "upstream":
        hosts += [*local, *server.hostnames]
    return Nginx(
        address=server.listen,
        port=server.port,
        names=names,
        hosts=tuple(dict.fromkeys(hosts)),
        tls="none" if server.tls == "own" and not server.beyond_loopback else server.tls,
        certificate=server.certificate,
        key=server.key,
        proxies=tuple(server.trusted_proxies),
    )


def differences(before: Plan | None, after: Plan) -> list[Difference]:
    """What the later plan would make or change, in the order of the plan's keys."""
    old = _flat(_dumped(before)) if before else {}
    new = _flat(_dumped(after))
    found = []
    for key in dict.fromkeys((*new, *old)):
        value = new.get(key, "nothing")
        if old.get(key) != new.get(key):
            if key in ("packages", "compose.jupyter_packages"):
                found += _package_differences(key, old.get(key), value)
            elif key == "cloud.user_data":
                found += _user_data_difference(old.get(key), value)
            else:
                found.append(Difference(key=key, before=old.get(key), after=value))
    return found


def _package_differences(key: str, before: str | None, after: str) -> list[Difference]:
    new = lock.versions(after)
    if before is None:
        return [Difference(key=key, before=None, after=f"{len(new)} pinned with hashes")]
    old = lock.versions(before)
    changed = [name for name in sorted(old | new) if old.get(name) != new.get(name)]
    return [
        Difference(key=f"{key}.{name}", before=old.get(name), after=new.get(name, "not installed"))
        for name in changed
    ] or [Difference(key=key, before="the recorded lock", after="another lock")]


def _user_data_difference(before: str | None, after: str) -> list[Difference]:
    if before is None:
        return []
    told = f"another one ({len(after.encode()):,} bytes)"
    return [Difference(key="cloud.user_data", before="the recorded one", after=told)]


def _dumped(plan: Plan) -> dict[str, Any]:
    content = plan.model_dump(mode="json")
    for place in ("cloud", "compose"):
        if content[place] is None:
            del content[place]
    return content


def _flat(content: dict[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in content.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            text = ", ".join(value) if isinstance(value, list) else str(value)
            if value not in (None, []):
                flat[prefix + key] = text
    return flat
