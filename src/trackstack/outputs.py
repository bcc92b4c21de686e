"""What a target learned while making the environment."""

from trackstack.desired import Part


class Outputs(Part):
    """Where the server is.

    Attributes:
        url: the address people and clients use.
        machine: the id under which the machine reports.
    """

    url: str
    machine: str
