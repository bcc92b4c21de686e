"""The flags that ask for something a spec can ask for: tables for deploy, plan and render."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from trackstack import names
from trackstack.cli.options import checked, checked_each

Table = dict[str, tuple[Any, tuple[str, ...]]]
"""By parameter: what Typer shows and checks, and the key of the spec that it sets."""

_MACHINE = "The machine's type, by the cloud's name. [t3.small, e2-small]"

_EVERYWHERE: Table = {
    "hostname": (
        Annotated[
            list[str] | None,
            typer.Option(
                metavar="NAME",
                callback=checked_each(names.host),
                help="A name or address that clients call it by; may be repeated.",
            ),
        ],
        ("server", "hostnames"),
    ),
    "workers": (
        Annotated[
            int | None,
            typer.Option(
                envvar="TRACKSTACK_WORKERS",
                min=1,
                max=64,
                help="MLflow's processes. [from memory and cores]",
            ),
        ],
        ("server", "workers"),
    ),
    "mlflow": (
        Annotated[
            str | None,
            typer.Option(envvar="TRACKSTACK_MLFLOW", metavar="VERSION", help="MLflow's version."),
        ],
        ("server", "mlflow"),
    ),
    "extra_package": (
        Annotated[
            list[str] | None,
            typer.Option(
                metavar="PACKAGE",
                callback=checked_each(names.requirement),
                help="Installed beside MLflow, such as a plugin; may be repeated.",
            ),
        ],
        ("server", "extra_packages"),
    ),
    "user": (
        Annotated[
            list[str] | None,
            typer.Option(
                metavar="NAME",
                callback=checked_each(names.user),
                help="Who is let in by this deploy; may be repeated. [you]",
            ),
        ],
        ("users",),
    ),
}
_LOCAL: Table = {
    "port": (
        Annotated[
            int | None,
            typer.Option(
                envvar="TRACKSTACK_PORT", min=1024, max=65535, help="Where it listens. [8080]"
            ),
        ],
        ("server", "port"),
    ),
    "listen": (
        Annotated[
            str | None,
            typer.Option(
                envvar="TRACKSTACK_LISTEN",
                metavar="ADDRESS",
                callback=checked(names.address),
                help="On which address; beyond this computer with TLS. [127.0.0.1]",
            ),
        ],
        ("server", "listen"),
    ),
    "database": (
        Annotated[
            str | None,
            typer.Option(
                envvar="TRACKSTACK_DATABASE",
                metavar="ADDRESS",
                callback=checked(names.database),
                help="A PostgreSQL database, postgresql://user@host/name; its password from "
                "PGPASSWORD. [SQLite]",
            ),
        ],
        ("stores", "database"),
    ),
    "artifacts": (
        Annotated[
            str | None,
            typer.Option(
                envvar="TRACKSTACK_ARTIFACTS",
                metavar="BUCKET",
                callback=checked(names.artifacts),
                help="s3://… or gs://…, still through this server. [a folder]",
            ),
        ],
        ("stores", "artifacts"),
    ),
    "artifacts_endpoint": (
        Annotated[
            str | None,
            typer.Option(
                metavar="ADDRESS",
                callback=checked(names.endpoint),
                help="Where the bucket's API is, when not at the cloud itself.",
            ),
        ],
        ("stores", "artifacts_endpoint"),
    ),
    "tls": (
        Annotated[
            str | None,
            typer.Option(
                metavar="own|files|upstream",
                help="Whose certificate, beyond this computer: its own, yours, a proxy's. [own]",
            ),
        ],
        ("server", "tls"),
    ),
    "certificate": (
        Annotated[Path | None, typer.Option(metavar="FILE", help="PEM, for --tls files.")],
        ("server", "certificate"),
    ),
    "key": (
        Annotated[Path | None, typer.Option(metavar="FILE", help="PEM, for --tls files.")],
        ("server", "key"),
    ),
    "trusted_proxy": (
        Annotated[
            list[str] | None,
            typer.Option(
                metavar="NETWORK",
                callback=checked_each(names.network),
                help="Where proxies stand, for --tls upstream; may be repeated.",
            ),
        ],
        ("server", "trusted_proxies"),
    ),
    "at_login": (
        Annotated[
            bool | None,
            typer.Option(
                "--at-login/--no-at-login",
                help="Whether it starts by itself when you log in. [no]",
            ),
        ],
        ("at_login",),
    ),
}
_COMPOSE: Table = {
    "port": _LOCAL["port"],
    "listen": (
        Annotated[
            str | None,
            typer.Option(
                envvar="TRACKSTACK_LISTEN",
                metavar="ADDRESS",
                callback=checked(names.address),
                help="On which of this computer's addresses. [127.0.0.1]",
            ),
        ],
        ("server", "listen"),
    ),
    "jupyter_port": (
        Annotated[
            int | None, typer.Option(min=1024, max=65535, help="Where JupyterLab is. [8888]")
        ],
        ("jupyter", "port"),
    ),
    "artifacts": (
        Annotated[
            str | None,
            typer.Option(
                envvar="TRACKSTACK_ARTIFACTS",
                metavar="BUCKET|FOLDER",
                callback=checked(names.artifacts_or_folder),
                help="s3://… or gs://…, or a folder of this computer. [the workspace's own SFTP]",
            ),
        ],
        ("stores", "artifacts"),
    ),
    "artifacts_endpoint": _LOCAL["artifacts_endpoint"],
    "base_image": (
        Annotated[
            str | None,
            typer.Option(
                metavar="IMAGE",
                callback=checked(names.image),
                help="A Debian 13 that all images are made from. [debian:trixie-slim]",
            ),
        ],
        ("images", "base"),
    ),
}
_CLOUD: Table = {
    "region": (
        Annotated[
            str | None,
            typer.Option(metavar="REGION", help="Where in the cloud. [the profile's, the shell's]"),
        ],
        ("region",),
    ),
    "allow": (
        Annotated[
            list[str] | None,
            typer.Option(
                metavar="NETWORK",
                callback=checked_each(names.client_network),
                help="Who may connect; may be repeated. [at first: this computer's own address]",
            ),
        ],
        ("allow",),
    ),
    "machine": (
        Annotated[
            str | None, typer.Option(envvar="TRACKSTACK_MACHINE", metavar="TYPE", help=_MACHINE)
        ],
        ("machine", "type"),
    ),
    "database": (
        Annotated[
            str | None,
            typer.Option(
                metavar="sqlite|postgres",
                help="SQLite on the machine's data disk, or a PostgreSQL of the cloud's. [sqlite]",
            ),
        ],
        ("database", "kind"),
    ),
}
_GCP: Table = {
    "project": (
        Annotated[
            str | None,
            typer.Option(metavar="ID", help="In which project. [that of the credentials]"),
        ],
        ("project",),
    ),
    "zone": (
        Annotated[
            str | None,
            typer.Option(metavar="ZONE", help="The machine's zone. [the region's first]"),
        ],
        ("zone",),
    ),
}
TABLES: dict[str, Table] = {
    "local": {**_LOCAL, **_EVERYWHERE},
    "compose": {**_COMPOSE, **_EVERYWHERE},
    "aws": {**_CLOUD, **_EVERYWHERE},
    "gcp": {**_CLOUD, **_GCP, **_EVERYWHERE},
}
"""By target."""


def with_spec_flags(target: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command every flag of a target, and what was said as its argument `asked`.

    Args:
        target: such as 'local'. The command is Typer's, with a keyword argument `asked`, nested as
            in a spec.
    """
    return functools.partial(_with_flags, TABLES[target])


def _with_flags(table: Table, command: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(command)
    def with_flags(**given: Any) -> None:
        asked: dict[str, Any] = {}
        for flag, (_, path) in table.items():
            value = given.pop(flag)
            if value is not None and value != []:
                group = asked
                for key in path[:-1]:
                    group = group.setdefault(key, {})
                group[path[-1]] = str(value.absolute()) if isinstance(value, Path) else value
        command(asked=asked, **given)

    own = inspect.signature(command).parameters
    flags = [
        inspect.Parameter(flag, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for flag, (kind, _) in table.items()
    ]
    kept = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in own.items()
        if name != "asked"
    ]
    setattr(with_flags, "__signature__", inspect.Signature([*kept, *flags]))  # noqa: B010
    with_flags.__annotations__ = {each.name: each.annotation for each in [*kept, *flags]}
    return with_flags
