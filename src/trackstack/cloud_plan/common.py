"""What the plans of all clouds share: their pieces, and the rules for names of buckets."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from trackstack import names

KIT = "trackstack"

Gigabytes = Annotated[int, Field(ge=1, le=16384)]
Days = Annotated[int, Field(ge=1, le=1000)]
TimeOfDay = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
"""In UTC."""


class Part(BaseModel):
    """A frozen piece of the plan; an unknown key is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def bucket_name(environment: str, account: str, region: str, part: str) -> str:
    """A bucket's name, which no other account, region or environment has: 63 letters at most.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
    """
    return names.fitted(f"{KIT}-{environment}-{account}-{region}-{part}", 63)
