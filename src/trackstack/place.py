"""Where in a cloud an environment is: all that a computer has to know to find it again."""

from typing import Literal

from trackstack.desired import Part


class Place(Part):
    """One account and region of a cloud.

    Attributes:
        account: AWS's 12 digits, or Google's project id.
        who: as whom this computer came there last, such as a role's ARN.
        profile: the AWS profile with the credentials, or None for the shell's own.
    """

    target: Literal["aws", "gcp"]
    account: str
    region: str
    who: str = ""
    profile: str | None = None

    @property
    def told(self) -> str:
        """The place for a reader."""
        kind = "account" if self.target == "aws" else "project"
        return f"{self.target} {kind} {self.account}, {self.region}"
