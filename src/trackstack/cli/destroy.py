"""`trackstack destroy`."""

from typing import TYPE_CHECKING, Annotated

import typer

from trackstack.cli import console
from trackstack.cli.options import EnvironmentOption, JsonOption
from trackstack.errors import UsageError

if TYPE_CHECKING:
    from trackstack.environment import Environment
    from trackstack.operations.destroy import Stock


def destroy(
    purge: Annotated[bool, typer.Option("--purge", help="Remove the data too.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; data is kept.")] = False,
    confirm: Annotated[
        str | None, typer.Option(metavar="NAME", help="Do not ask; needed for --purge.")
    ] = None,
    environment: EnvironmentOption = None,
    json: JsonOption = False,
) -> None:
    """Stop everything. The data stays, and `deploy` finds it again, unless --purge is said."""
    from trackstack import environment as environments
    from trackstack.cli.resources import Resources
    from trackstack.operations import destroy as operation

    known = environments.all_names()
    if not known or (confirm is not None and confirm == environment and confirm not in known):
        # Gone already: the second of two runs ends well.
        _tell_gone(environment or confirm, json)
        return
    chosen = environments.find(environment)
    operation.check(chosen)
    agreed = (yes and not purge) or confirm == chosen.name
    if not agreed:
        _must_be_asked(chosen.name, purge, confirm)
        _ask(chosen, purge, operation.take_stock(chosen))
    target = chosen.existing_record().plan.target
    removed = operation.destroy(chosen, purge, Resources(), console.progress)
    if json:
        folder = str(removed.folder) if removed.folder else None
        left = [each.model_dump() for each in removed.left]
        console.document({"environment": chosen.name, "kept": folder, "left": left})
        return
    if purge:
        console.result(f"Environment {chosen.name!r} is gone, and all it stored.")
    else:
        place = f" in {removed.folder}" if removed.folder else ""
        console.result(f"Environment {chosen.name!r} is stopped. Its data is kept{place}.")
    for each in removed.left:
        how = f"; to remove it: {each.how}" if each.how else ""
        console.result(f"  {'still there' if purge else 'kept'}: {each.name} ({each.why}{how})")
    if not purge:
        console.result(f"To come back: {console.me()} deploy {target} -e {chosen.name}")
        console.result(f"To remove it: {console.me()} destroy --purge -e {chosen.name}")


def _tell_gone(name: str | None, json: bool) -> None:
    if json:
        console.document({"environment": name, "kept": None})
    else:
        console.result("There is no such environment; nothing to destroy.")


def _must_be_asked(name: str, purge: bool, confirm: str | None) -> None:
    """Refuse, before anything is counted, what nobody is there to agree to."""
    if confirm is not None:
        raise UsageError(f"--confirm says {confirm!r}, but the environment is {name!r}.")
    if not console.can_ask():
        flag = f"--confirm {name}" if purge else "--yes"
        raise UsageError("There is no terminal to ask on.", f"Say `{flag}` to go ahead.")


def _ask(chosen: "Environment", purge: bool, stock: "Stock") -> None:
    name = chosen.name
    lost = "LOST FOR GOOD" if purge else "kept"
    console.progress(f"CHANGE: environment {name!r} {chosen.target.where} will be stopped; {lost}:")
    for line in _stock_lines(stock):
        console.progress(f"  {line}")
    typed = typer.prompt(
        "Type the environment's name to go ahead", err=True, default="", show_default=False
    )
    if typed != name:
        raise UsageError("That is not its name; nothing was changed.")


def _stock_lines(stock: "Stock") -> list[str]:
    more = "more than " if stock.more_runs else ""
    runs = (
        "runs unknown (the server does not run)"
        if stock.runs is None
        else f"{more}{stock.runs:,} runs"
    )
    lines = [runs]
    if stock.models is not None:
        lines.append(f"{stock.models:,} registered models")
    if stock.stored_bytes is not None:
        lines.append(f"{console.size(stock.stored_bytes)} stored")
    lines.append(f"{stock.people} users")
    if stock.last_write:
        lines.append(f"last written {stock.last_write:%Y-%m-%d %H:%M} UTC")
    return lines
