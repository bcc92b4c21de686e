"""`trackstack open`."""

from trackstack.cli import console
from trackstack.cli.options import EnvironmentOption, JsonOption


def open_(environment: EnvironmentOption = None, json: JsonOption = False) -> None:
    """Open MLflow's pages in the browser; without a terminal, only say where they are."""
    import webbrowser

    from trackstack import environment as environments

    url = environments.find(environment).url
    if json:
        console.document({"url": url})
        return
    console.result(url)
    if console.at_terminal() and not webbrowser.open(url):
        console.progress("There is no browser here to open it with.")
