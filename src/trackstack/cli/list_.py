"""`trackstack list`."""

from trackstack.cli import console
from trackstack.cli.options import JsonOption


def list_(json: JsonOption = False) -> None:
    """The environments on this computer."""
    from trackstack.operations.status import summaries

    found = summaries()
    if json:
        console.document([each.model_dump() for each in found])
    elif not found:
        console.result("There is no environment yet; `trackstack deploy local` makes one.")
    for each in [] if json else found:
        told = each.problem or f"{each.target}  {each.url}"
        console.result(f"{each.environment:<16} {each.state:<10} {told}")
