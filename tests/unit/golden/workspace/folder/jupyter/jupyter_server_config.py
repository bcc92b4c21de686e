"""JupyterLab's settings: behind the tracking server's nginx, with a login of its own."""

from pathlib import Path

c = get_config()  # noqa: F821  Jupyter puts it here

c.ServerApp.ip = "0.0.0.0"  # noqa: S104  of a container that publishes no port
c.ServerApp.port = 8888
c.ServerApp.port_retries = 0
c.ServerApp.open_browser = False
c.ServerApp.root_dir = "/home/jupyter/notebooks"
# nginx asks only for the names that are this environment's, and says who asks it.
c.ServerApp.allow_remote_access = True
c.ServerApp.trust_xheaders = True
c.ServerApp.quit_button = False
# A token that is given, and not made here, is written into no log.
c.IdentityProvider.token = Path("/run/secrets/token").read_text().strip()
# It would ask elsewhere whether there is a newer one.
c.LabApp.check_for_updates_class = "jupyterlab.handlers.announcements.NeverCheckForUpdate"
