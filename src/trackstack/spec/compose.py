"""What can be asked of a workspace in Docker."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from trackstack import names
from trackstack.spec.deciding import default_workers
from trackstack.spec.kinds import (
    EVERYWHERE,
    LOOPBACK,
    Address,
    ArtifactsOrFolder,
    Asked,
    Endpoint,
    EnvironmentName,
    Hostname,
    Image,
    MlflowVersion,
    Package,
    Port,
    Strict,
    UserName,
    Workers,
)

CLIENT = "jupyter"
"""The user of the tracking server that the workspace's own client is."""


class ComposeServer(Strict):
    """The tracking server itself; it shows a certificate of its own."""

    listen: Address = LOOPBACK
    port: Port
    hostnames: list[Hostname] = Field(default_factory=list)
    workers: Workers
    mlflow: MlflowVersion
    extra_packages: list[Package] = Field(default_factory=list)


class ComposeStores(Strict):
    """Where artifacts are kept, when not on the workspace's own SFTP server."""

    artifacts: ArtifactsOrFolder | None = None
    artifacts_endpoint: Endpoint | None = None

    @property
    def database(self) -> None:
        """Runs are in the workspace's own PostgreSQL."""

    @property
    def folder(self) -> str | None:
        """A folder of this computer, when that is what artifacts are kept in."""
        return self.artifacts if self.artifacts and self.artifacts.startswith("/") else None

    @property
    def bucket(self) -> str | None:
        """A bucket, likewise."""
        return None if self.folder else self.artifacts

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.artifacts_endpoint and not self.bucket:
            raise ValueError("artifacts_endpoint goes with a bucket: say in artifacts which")
        return self


class Jupyter(Strict):
    """JupyterLab."""

    port: Port


class Images(Strict):
    """What containers are made from.

    Attributes:
        base: a Debian 13, or what is made from it, such as a company's own.
    """

    base: Image


class ComposeSpec(Strict):
    """One environment, with every value decided."""

    target: Literal["compose"]
    environment: EnvironmentName
    server: ComposeServer
    stores: ComposeStores = ComposeStores()
    jupyter: Jupyter
    images: Images
    users: Annotated[list[UserName], Field(min_length=1)]
    protected: bool

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.server.listen == EVERYWHERE and not self.server.hostnames:
            raise ValueError(
                "with listen 0.0.0.0 say in hostnames by which names or addresses clients call it"
            )
        if CLIENT in self.users:
            raise ValueError(
                f"{CLIENT!r} is the user that JupyterLab itself is, and no person's: take another "
                "name in users, such as with --user"
            )
        if self.server.port == self.jupyter.port:
            raise ValueError(f"MLflow and JupyterLab cannot both have the port {self.jupyter.port}")
        return self


def defaults(environment: str, account: str, mlflow: str) -> Asked:
    """What a first deploy decides where nothing was asked."""
    user = names.user_from_account(account)
    return {
        "target": "compose",
        "environment": environment,
        "server": {
            "listen": LOOPBACK,
            "port": 8080,
            "hostnames": [],
            "workers": default_workers(),
            "mlflow": mlflow,
            "extra_packages": [],
        },
        "stores": {"artifacts": None, "artifacts_endpoint": None},
        "jupyter": {"port": 8888},
        "images": {"base": "debian:trixie-slim"},
        "users": [names.user_from_account("") if user == CLIENT else user],
        "protected": False,
    }
