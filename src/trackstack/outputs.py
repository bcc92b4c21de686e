"""What a target learned while making the environment."""

from pydantic import BaseModel, ConfigDict


class Outputs(BaseModel):
    """Where the server is.

    Attributes:
        url: the address people and clients use.
        machine: the id under which the machine reports.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    machine: str
