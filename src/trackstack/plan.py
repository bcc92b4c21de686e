"""The plan: everything that will exist, as data. No clock, no disk, no network here."""

from typing import Any, Literal

from trackstack import lock
from trackstack.desired import Part
from trackstack.spec import EVERYWHERE, LOOPBACK, Server, Spec


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
    """

    target: Literal["local"]
    environment: str
    nginx: Nginx
    mlflow: Mlflow
    packages: str

    def brief(self) -> dict[str, Any]:
        """The plan for a reader: the lock's packages are counted, not listed."""
        content = self.model_dump(mode="json")
        content["packages"] = len(lock.versions(self.packages))
        return content


class Difference(Part):
    """One value that will change, or be made when `before` is None."""

    key: str
    before: str | None
    after: str


def make_plan(spec: Spec, packages: str, secrets: int = 0) -> Plan:
    """Turn a spec, a package lock and the count of given credentials into the plan."""
    return Plan(
        target=spec.target,
        environment=spec.environment,
        nginx=_nginx(spec.server),
        mlflow=Mlflow(
            version=spec.server.mlflow,
            workers=spec.server.workers,
            # The driver by name: SQLAlchemy 2.0 and 2.1 differ in which they take unasked.
            database=(spec.stores.database or "sqlite:///data/mlflow.db").replace(
                "postgresql:", "postgresql+psycopg:", 1
            ),
            artifacts=spec.stores.artifacts or "data/artifacts",
            artifacts_endpoint=spec.stores.artifacts_endpoint,
            secrets=secrets,
        ),
        packages=packages,
    )


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
    old = _flat(before.model_dump(mode="json")) if before else {}
    new = _flat(after.model_dump(mode="json"))
    found = []
    for key in dict.fromkeys((*new, *old)):
        value = new.get(key, "nothing")
        if old.get(key) != new.get(key):
            if key == "packages":
                found += _package_differences(old.get(key), value)
            else:
                found.append(Difference(key=key, before=old.get(key), after=value))
    return found


def _package_differences(before: str | None, after: str) -> list[Difference]:
    new = lock.versions(after)
    if before is None:
        return [Difference(key="packages", before=None, after=f"{len(new)} pinned with hashes")]
    old = lock.versions(before)
    changed = [name for name in sorted(old | new) if old.get(name) != new.get(name)]
    return [
        Difference(
            key=f"packages.{name}", before=old.get(name), after=new.get(name, "not installed")
        )
        for name in changed
    ] or [Difference(key="packages", before="the recorded lock", after="another lock")]


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
