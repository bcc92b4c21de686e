"""The plan for a cloud: every thing that will exist there, as data, and the rules for its names.

The Pulumi programs in stacks/ only declare what stands here: no lookup, clock or default of
theirs can change what an environment consists of.
"""

from typing import Annotated

from pydantic import Field

from trackstack.cloud_plan.aws import (
    ENVIRONMENT_TAG,
    KIT_TAG,
    NAME_TAG,
    Aws,
    Database,
    Given,
    GivenNetwork,
)
from trackstack.cloud_plan.common import KIT, Part, bucket_name
from trackstack.cloud_plan.gcp import (
    ENVIRONMENT_LABEL,
    KIT_LABEL,
    Gcp,
    GcpDatabase,
    GcpGiven,
    GcpNetwork,
)

Cloud = Annotated[Aws | Gcp, Field(discriminator="cloud")]

__all__ = [
    "ENVIRONMENT_LABEL",
    "ENVIRONMENT_TAG",
    "KIT",
    "KIT_LABEL",
    "KIT_TAG",
    "NAME_TAG",
    "Aws",
    "Cloud",
    "Database",
    "Gcp",
    "GcpDatabase",
    "GcpGiven",
    "GcpNetwork",
    "Given",
    "GivenNetwork",
    "Part",
    "bucket_name",
]
