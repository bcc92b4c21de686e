"""`trackstack logs`."""

from enum import StrEnum
from typing import Annotated

import typer

from trackstack.cli import console
from trackstack.cli.options import EnvironmentOption
from trackstack.errors import UsageError


class Service(StrEnum):
    """Whose log."""

    nginx = "nginx"
    mlflow = "mlflow"
    agent = "agent"
    console = "console"
    jupyter = "jupyter"
    postgres = "postgres"
    sftp = "sftp"


_OF_A_WORKSPACE = (Service.jupyter, Service.postgres, Service.sftp)


def logs(
    service: Annotated[Service, typer.Argument(show_default=False)] = Service.mlflow,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Wait for more.")] = False,
    environment: EnvironmentOption = None,
) -> None:
    """The log of nginx (JSON, a line a request), MLflow or the agent.

    `console` is what a cloud's machine wrote to its serial console: it is there when all else is
    silent; `jupyter`, `postgres` and `sftp` are a workspace's.
    """
    from trackstack import environment as environments

    if service is Service.console:
        chosen = environments.find(environment)
        console.result(chosen.cloud.console(chosen.outputs.machine))
        return
    chosen = environments.find(environment)
    if service in _OF_A_WORKSPACE and chosen.kind != "compose":
        raise UsageError(
            f"Environment {chosen.name!r} has no service {service.value!r}.",
            "It has nginx, mlflow and agent.",
        )
    for line in chosen.target.logs(service.value, follow):
        console.result(line)
