"""`trackstack open`."""

from trackstack.cli import console
from trackstack.cli.options import EnvironmentOption, JsonOption


def open_(environment: EnvironmentOption = None, json: JsonOption = False) -> None:
    """Open MLflow's pages in the browser, of a workspace also JupyterLab's.

    Without a terminal, only say where they are.
    """
    import webbrowser

    from trackstack import environment as environments

    chosen = environments.find(environment)
    pages = {"url": chosen.url}
    workspace = chosen.target.workspace(chosen.existing_record().plan)
    if workspace is not None:
        # Without its token: others see what a browser is called with.
        pages["jupyterlab"] = workspace.url
    if json:
        console.document(pages)
        return
    console.result("\n".join(pages.values()))
    if console.at_terminal() and not all(webbrowser.open(page) for page in pages.values()):
        console.progress("There is no browser here to open it with.")
