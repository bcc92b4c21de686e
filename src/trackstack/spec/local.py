"""What can be asked of a server on this computer."""

import ipaddress
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from trackstack import names
from trackstack.spec.deciding import default_workers
from trackstack.spec.kinds import (
    EVERYWHERE,
    LOOPBACK,
    Address,
    Artifacts,
    Asked,
    Database,
    Endpoint,
    EnvironmentName,
    Hostname,
    MlflowVersion,
    Network,
    Package,
    PemFile,
    Port,
    Strict,
    UserName,
    Workers,
)


class Server(Strict):
    """The tracking server itself."""

    listen: Address = LOOPBACK
    port: Port
    hostnames: list[Hostname] = Field(default_factory=list)
    tls: Literal["own", "files", "upstream"] = "own"
    certificate: PemFile | None = None
    key: PemFile | None = None
    trusted_proxies: list[Network] = Field(default_factory=list)
    workers: Workers
    mlflow: MlflowVersion
    extra_packages: list[Package] = Field(default_factory=list)

    @property
    def beyond_loopback(self) -> bool:
        """Whether other computers can reach it."""
        return not ipaddress.ip_address(self.listen).is_loopback

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.listen == EVERYWHERE and not self.hostnames:
            raise ValueError(
                "with listen 0.0.0.0 say in hostnames by which names or addresses clients call it"
            )
        if (self.tls == "files") != bool(self.certificate and self.key):
            raise ValueError("certificate and key go with tls: files, and tls: files with both")
        if (self.tls == "upstream") != bool(self.trusted_proxies):
            raise ValueError(
                "trusted_proxies goes with tls: upstream, and tls: upstream with trusted_proxies"
            )
        if self.tls != "own" and not self.hostnames:
            raise ValueError(f"tls: {self.tls} needs in hostnames the names clients use")
        own = [name for name in self.hostnames if name == "localhost" or name.startswith("127.")]
        if own and self.beyond_loopback:
            raise ValueError(f"{own[0]} in hostnames is what every computer calls itself")
        if self.tls == "files" and not self.beyond_loopback:
            raise ValueError("tls: files needs in listen an address beyond this computer")
        return self


class Stores(Strict):
    """Where runs and artifacts are kept, when not in the machine's own folder."""

    database: Database | None = None
    artifacts: Artifacts | None = None
    artifacts_endpoint: Endpoint | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.artifacts_endpoint and not self.artifacts:
            raise ValueError("artifacts_endpoint goes with artifacts: say which bucket too")
        return self


class LocalSpec(Strict):
    """One environment, with every value decided."""

    target: Literal["local"]
    environment: EnvironmentName
    server: Server
    stores: Stores = Stores()
    users: Annotated[list[UserName], Field(min_length=1)]
    protected: bool
    at_login: bool = False


def defaults(environment: str, account: str, mlflow: str) -> Asked:
    """What a first deploy decides where nothing was asked, on this computer."""
    return {
        "target": "local",
        "environment": environment,
        "server": {
            "listen": LOOPBACK,
            "port": 8080,
            "hostnames": [],
            "tls": "own",
            "certificate": None,
            "key": None,
            "trusted_proxies": [],
            "workers": default_workers(),
            "mlflow": mlflow,
            "extra_packages": [],
        },
        "stores": {"database": None, "artifacts": None, "artifacts_endpoint": None},
        "users": [names.user_from_account(account)],
        "protected": False,
        "at_login": False,
    }
