"""`trackstack verify`."""

from typing import Annotated

import typer

from trackstack.cli import console
from trackstack.cli.options import EnvironmentOption, JsonOption


def verify(
    quick: Annotated[bool, typer.Option("--quick", help="Only read; write nothing.")] = False,
    environment: EnvironmentOption = None,
    json: JsonOption = False,
) -> None:
    """Prove the server from outside, keep a receipt, leave nothing behind."""
    from trackstack import environment as environments
    from trackstack.operations.verify import verify as prove

    chosen = environments.find(environment)
    receipt = prove(chosen, quick=quick, on_check=console.check_line)
    if json:
        console.document(receipt.model_dump(mode="json"))
    else:
        kept = "" if quick else f" The receipt is in {chosen.folder / 'receipts'}."
        console.result(f"{receipt.url} is proven: {len(receipt.checks)} checks held.{kept}")
