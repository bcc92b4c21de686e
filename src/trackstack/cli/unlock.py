"""`trackstack unlock`."""

from typing import Annotated

import typer

from trackstack.cli import console
from trackstack.cli.options import EnvironmentOption, JsonOption, YesOption


def unlock(
    older_than: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Do not ask; only a lock older than this, such as 2h."),
    ] = None,
    environment: EnvironmentOption = None,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Free the lock that a killed deploy or destroy left in a cloud; says first who holds it."""
    from trackstack import environment as environments
    from trackstack.cli.durations import duration
    from trackstack.operations import unlock as operation

    chosen = environments.find(environment)
    held = operation.holder(chosen)
    span = duration(older_than) if older_than else None
    if held is None:
        _tell(f"Nobody holds environment {chosen.name!r}.", {"holder": None}, json)
        return
    console.progress(f"Environment {chosen.name!r} is held by {held.told}.")
    if not (yes or span):
        console.must_agree("Take the lock away?")
    operation.unlock(chosen, held, span)
    told = "The lock is gone. Deploy again: what the killed run had begun is looked up first."
    _tell(told, {"holder": held.model_dump(mode="json")}, json)


def _tell(sentence: str, document: dict[str, object], json: bool) -> None:
    if json:
        console.document(document)
    else:
        console.result(sentence)
