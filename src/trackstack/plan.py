"""The plan: everything that will exist, as data. No clock, no disk, no network here."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from trackstack import lock
from trackstack.spec import Spec


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Nginx(_Frozen):
    """The front: where it listens and the names it answers to.

    Attributes:
        address: the one it listens on.
        hosts: the values of the Host header that are let in.
    """

    address: str
    port: int
    hosts: tuple[str, ...]


class Mlflow(_Frozen):
    """The tracking server.

    Attributes:
        database: a SQLAlchemy address, relative to the machine's folder.
        artifacts: a folder relative to the machine's folder; clients reach it by the proxy only.
    """

    version: str
    workers: int
    database: str
    artifacts: str


class Plan(_Frozen):
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


class Difference(_Frozen):
    """One value that will change, or be made when `before` is None."""

    key: str
    before: str | None
    after: str


def make_plan(spec: Spec, packages: str) -> Plan:
    """Turn a spec and a package lock into the plan."""
    port = spec.server.port
    return Plan(
        target=spec.target,
        environment=spec.environment,
        nginx=Nginx(
            address="127.0.0.1", port=port, hosts=(f"127.0.0.1:{port}", f"localhost:{port}")
        ),
        mlflow=Mlflow(
            version=spec.server.mlflow,
            workers=spec.server.workers,
            database="sqlite:///data/mlflow.db",
            artifacts="data/artifacts",
        ),
        packages=packages,
    )


def differences(before: Plan | None, after: Plan) -> list[Difference]:
    """What the later plan would make or change, in the order of the plan's keys."""
    old = _flat(before.model_dump(mode="json")) if before else {}
    new = _flat(after.model_dump(mode="json"))
    found = []
    for key, value in new.items():
        if old.get(key) != value:
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
            flat[prefix + key] = ", ".join(value) if isinstance(value, list) else str(value)
    return flat
