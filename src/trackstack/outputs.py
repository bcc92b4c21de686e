"""What a target learned while making the environment."""

from trackstack.desired import Part


class Outputs(Part):
    """Where the server is.

    Attributes:
        url: the address people and clients use.
        machine: the id under which the machine reports.
        address: the public one that a cloud gave it.
        database_host: where the managed database is.
        database_secret: the cloud's name of the secret that holds its first password.
    """

    url: str
    machine: str
    address: str | None = None
    database_host: str | None = None
    database_secret: str | None = None
