"""`trackstack verify`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trackstack.cli import console
from trackstack.cli.login import login, only_with_url
from trackstack.cli.options import CaOption, EnvironmentOption, JsonOption, UrlOption, UrlUserOption
from trackstack.errors import UsageError

if TYPE_CHECKING:
    from trackstack.operations.receipt import Receipt


def verify(
    quick: Annotated[bool, typer.Option("--quick", help="Only read; write nothing.")] = False,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="A served model: compare its answer with its own code's."
        ),
    ] = None,
    environment: EnvironmentOption = None,
    url: UrlOption = None,
    user: UrlUserOption = None,
    ca: CaOption = None,
    json: JsonOption = False,
) -> None:
    """Prove the server from outside, keep a receipt, leave nothing behind.

    With --url, any server: by reading only, and without keeping the receipt.
    """
    if model is not None and (url is not None or quick):
        raise UsageError("--model goes with neither --url nor --quick.")
    if url is not None:
        _tell(_prove_url(url, user, ca, quick), "", json)
        return
    only_with_url(user, ca)
    from trackstack import environment as environments
    from trackstack.operations.verify import verify as prove

    chosen = environments.find(environment)
    if model is not None:
        from trackstack.operations.verify_model import verify_model

        receipt = verify_model(chosen, model, console.check_line)
    else:
        receipt = prove(chosen, quick=quick, on_check=console.check_line)
    kept = "" if quick else f" The receipt is in {chosen.folder / 'receipts'}."
    _tell(receipt, kept, json)


def _prove_url(url: str, user: str | None, ca: Path | None, quick: bool) -> "Receipt":
    from trackstack.operations.verify_url import verify_url

    return verify_url(url, login(user), ca, quick, console.check_line)


def _tell(receipt: "Receipt", kept: str, json: bool) -> None:
    if json:
        console.document(receipt.model_dump(mode="json"))
    else:
        count = len(receipt.checks)
        held = "1 check" if count == 1 else f"{count} checks"
        if receipt.from_machine:
            console.result(
                f"{receipt.url} does not let this computer in; by its machine's own word {held} "
                f"held.{kept} `{console.me()} allow add me` lets this computer in."
            )
            return
        console.result(f"{receipt.url} is proven: {held} held.{kept}")
