"""`trackstack doctor`."""

from typing import TYPE_CHECKING

import typer

from trackstack.cli import console
from trackstack.cli.login import login, only_with_url
from trackstack.cli.options import CaOption, EnvironmentOption, JsonOption, UrlOption, UrlUserOption

if TYPE_CHECKING:
    from trackstack.operations.findings import Diagnosis

_WORDS = {"ok": "ok", "untried": "not tried", "warning": "warning", "bad": "BAD"}


def doctor(
    environment: EnvironmentOption = None,
    url: UrlOption = None,
    user: UrlUserOption = None,
    ca: CaOption = None,
    json: JsonOption = False,
) -> None:
    """What is wrong, how bad it is, and what to do: here, or with --url at any MLflow server.

    Ends with 4 when this computer lacks something, with 3 when a server is not well.
    """
    if url is not None:
        from trackstack.operations.inspection import inspect

        diagnosis = inspect(url, login(user), ca)
    else:
        from trackstack import environment as environments
        from trackstack.operations.doctor import examine

        only_with_url(user, ca)
        names = [environments.find(environment).name] if environment else environments.all_names()
        diagnosis = examine([environments.Environment(name) for name in names])
    if json:
        console.document(diagnosis.model_dump(mode="json"))
    else:
        _tell(diagnosis)
    raise typer.Exit(diagnosis.exit_code)


def _tell(diagnosis: "Diagnosis") -> None:
    where = None
    for finding in diagnosis.findings:
        if finding.where != where:
            where = finding.where
            console.result(f"{where}:")
        console.result(f"  {_WORDS[finding.level]:<9}  {finding.sentence}")
        if finding.remedy and finding.level in ("warning", "bad"):
            console.result(f"  {'':<9}  -> {finding.remedy}")
    if diagnosis.requests is not None:
        console.result(f"{diagnosis.requests} requests were sent; none changed anything.")
