"""`trackstack models`."""

from typing import TYPE_CHECKING, Annotated

import typer

from trackstack.cli import console
from trackstack.cli.options import EnvironmentOption, JsonOption, YesOption
from trackstack.errors import printable

if TYPE_CHECKING:
    from trackstack.desired import ModelReport
    from trackstack.environment import Environment

app = typer.Typer(
    help="Serve models behind the same users.", no_args_is_help=True, rich_markup_mode=None
)


@app.command()
def serve(
    uri: Annotated[str, typer.Argument(metavar="MODEL_URI", show_default=False)],
    name: Annotated[
        str | None,
        typer.Option("--as", metavar="NAME", help="Serve it at /serve/NAME/. [the model's name]"),
    ] = None,
    memory: Annotated[
        int, typer.Option(metavar="MB", min=256, help="How much memory it may take.")
    ] = 2048,
    request: Annotated[
        int, typer.Option(metavar="MB", min=1, max=64, help="How large a request may be.")
    ] = 16,
    seconds: Annotated[
        int, typer.Option(metavar="S", min=1, max=600, help="How long a request may take.")
    ] = 60,
    allow_model_code: Annotated[
        bool,
        typer.Option(
            "--allow-model-code", help="Agree, once for the environment, that models run code."
        ),
    ] = False,
    environment: EnvironmentOption = None,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Serve a model; where an alias or a stage points later is followed."""
    from trackstack import environment as environments
    from trackstack.desired import ServedModel
    from trackstack.operations import models

    uri = models.checked_uri(uri)
    served_as = models.name_for(uri, name)
    chosen = environments.find(environment)
    models.must_be_possible(chosen)
    new = allow_model_code and not models.code_is_allowed(chosen)
    if new:
        _tell_what_it_means(chosen, uri)
        if not yes:
            console.must_agree("Go ahead?")
    model = ServedModel(uri=uri, memory_mb=memory, request_mb=request, seconds=seconds)
    report = models.serve(chosen, served_as, model, allow_model_code, _Progress())
    address = f"{chosen.url}/serve/{served_as}"
    if json:
        console.document({"name": served_as, "url": address, **report.model_dump(mode="json")})
        return
    console.result(f"Version {report.version} of {uri} answers at {address}/invocations")


@app.command("list")
def list_(environment: EnvironmentOption = None, json: JsonOption = False) -> None:
    """The served models, and how they do."""
    from trackstack import environment as environments
    from trackstack.operations import models
    from trackstack.targets.local import NO_WALLS

    chosen = environments.find(environment)
    listed = models.listed(chosen)
    found = listed.models
    if json:
        console.document(listed.model_dump(mode="json"))
        return
    if not found:
        console.result(f"Environment {chosen.name!r} serves no models.")
        return
    rows: list[tuple[str, ...]] = [
        ("name", "version", "state", "healthy", "requests", "p50", "memory", "from")
    ]
    rows += [_row(name, each) for name, each in found.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        console.result("  ".join(f"{w:<{n}}" for w, n in zip(row, widths, strict=True)).rstrip())
    for name, each in found.items():
        if each.reason:
            console.result(f"{name}: {each.reason}")
    if listed.walls is False:  # as the machine has it: this shell may find another bubblewrap
        console.result(NO_WALLS)


@app.command()
def stop(
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)],
    environment: EnvironmentOption = None,
    json: JsonOption = False,
) -> None:
    """Serve a model no longer."""
    from trackstack import environment as environments
    from trackstack.operations import models

    models.stop(environments.find(environment), name)
    if json:
        console.document({"stopped": name})
    else:
        console.result(f"Model {name!r} is served no longer.")


@app.command()
def logs(
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)],
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Wait for more.")] = False,
    environment: EnvironmentOption = None,
) -> None:
    """What a served model's code wrote: the newest server's log."""
    from trackstack import environment as environments
    from trackstack.operations import models

    chosen = environments.find(environment)
    models.must_be_served(chosen, name)
    for line in chosen.target.logs(f"model-{name}", follow):
        # The model's own code wrote it, and a terminal obeys what it reads.
        console.result("\t".join(map(printable, line.split("\t"))))


def _tell_what_it_means(chosen: "Environment", uri: str) -> None:
    console.progress(
        f"CHANGE of environment {chosen.name!r} {chosen.target.where}: models' code may run.\n"
        f"  Whoever may log a model or move an alias in this MLflow runs code "
        f"{chosen.target.where}, beginning with {uri}."
    )
    console.progress(f"  {chosen.target.walls()}")


def _row(name: str, each: "ModelReport") -> tuple[str, ...]:
    return (
        name,
        each.version or "-",
        each.state,
        "yes" if each.healthy else "no",
        f"{each.requests:,}",
        f"{each.p50_ms:.1f} ms" if each.p50_ms is not None else "-",
        console.size(each.memory_bytes) if each.memory_bytes is not None else "-",
        each.uri,
    )


class _Progress:
    """Says what is being done, once each."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def __call__(self, report: "ModelReport") -> None:
        if report.doing and report.doing not in self._told:
            self._told.add(report.doing)
            console.progress(f"  … {report.doing}")
