"""The command line: one file per command, named as the operation it calls."""

import sys

import typer

from trackstack import __version__
from trackstack.cli import (
    allow,
    attach,
    deploy,
    destroy,
    doctor,
    env,
    list_,
    logs,
    models,
    notebook,
    open_,
    plan,
    policy,
    render,
    run,
    status,
    unlock,
    users,
    verify,
)
from trackstack.cli.console import have_streams
from trackstack.cli.failures import rendered

app = typer.Typer(
    name="trackstack",
    help="Deploys the MLflow tracking server for a team, and takes care of it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

deploying = typer.Typer(
    help="Make an environment exist and check it.", no_args_is_help=True, rich_markup_mode=None
)
deploying.command("local")(deploy.local)
deploying.command("compose")(deploy.compose)
deploying.command("aws")(deploy.aws)
deploying.command("gcp")(deploy.gcp)
planning = typer.Typer(
    help="Say what a deploy would change; change nothing.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
planning.command("local")(plan.local)
planning.command("compose")(plan.compose)
planning.command("aws")(plan.aws)
planning.command("gcp")(plan.gcp)

app.add_typer(deploying, name="deploy")
app.add_typer(planning, name="plan")
app.command("list")(list_.list_)
app.command("status")(status.status)
app.command("open")(open_.open_)
app.command("logs")(logs.logs)
app.command("env")(env.env)
app.add_typer(users.app, name="users")
app.add_typer(allow.app, name="allow")
app.add_typer(models.app, name="models")
app.command("verify")(verify.verify)
app.command("doctor")(doctor.doctor)
app.command("run")(run.run)
app.command("notebook")(notebook.notebook)
app.command("render")(render.render)
app.command("attach")(attach.attach)
app.command("unlock")(unlock.unlock)
app.command("policy")(policy.policy)
app.command("destroy")(destroy.destroy)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _trackstack(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and leave."
    ),
) -> None:
    """Deploys the MLflow tracking server for a team, and takes care of it."""


def main() -> None:
    """Run the command line; every way it can end has its exit code."""
    have_streams()
    with rendered():
        app(prog_name="trackstack")
    sys.exit(0)
