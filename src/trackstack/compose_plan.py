"""What will exist of a workspace in Docker, besides the tracking server itself."""

from trackstack.desired import Part

SFTP = "sftp://trackstack@sftp:2222/artifacts"
"""The workspace's own artifact store, by the name that Docker gives it."""
DATABASE = "postgresql+psycopg://mlflow@postgres:5432/mlflow?passfile=/run/secrets/pgpass"
"""The workspace's PostgreSQL; its password is in a file that only MLflow's user reads.

See https://www.postgresql.org/docs/current/libpq-pgpass.html.
"""
FOLDER = "/artifacts"
"""Where a folder of this computer is in the tracking server's container."""


TRACKING = "tracking.localhost"
"""What JupyterLab's container calls the server where it has no name but this computer's own.

Docker resolves it in there, and a browser on this computer to this computer, so that an address
that MLflow prints in a notebook leads to a page. https://www.rfc-editor.org/rfc/rfc6761#section-6.3
"""


class Compose(Part):
    """The containers around MLflow, and how they are reached.

    Attributes:
        listen: the address of this computer on which nginx's two ports are.
        jupyter_port: of JupyterLab.
        jupyter_packages: JupyterLab and MLflow's client: a requirements file with hashes.
        base: the image that all others are made from.
        tracking: what JupyterLab's container calls the server.
        folder: of this computer, for artifacts in place of the SFTP server.
    """

    listen: str
    jupyter_port: int
    jupyter_packages: str
    base: str
    tracking: str
    folder: str | None = None
