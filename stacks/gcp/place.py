"""What every resource of an environment has: the provider, its interfaces, protection of data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_gcp as gcp
from pulumi_gcp import projects

from trackstack.cloud_plan import Gcp

_ALWAYS = ("compute", "iam", "secretmanager", "storage")
_WITH_DATABASE = ("servicenetworking", "sqladmin")


@dataclass(frozen=True)
class Place:
    """The plan, and the project and region it is for.

    Attributes:
        enabled: the interfaces, which have to be on before anything else.
    """

    plan: Gcp
    provider: gcp.Provider
    enabled: Sequence[pulumi.Resource]

    @classmethod
    def of(cls, plan: Gcp) -> "Place":
        """With the interfaces that the plan needs; they are left on when it goes."""
        provider = gcp.Provider("gcp", project=plan.project, region=plan.region, zone=plan.zone)
        enabled = [
            projects.Service(
                f"{name}-interface",
                service=f"{name}.googleapis.com",
                disable_on_destroy=False,
                opts=pulumi.ResourceOptions(provider=provider),
            )
            for name in (*_ALWAYS, *(_WITH_DATABASE if plan.database else ()))
        ]
        return cls(plan, provider, enabled)

    def options(
        self, depends_on: Sequence[pulumi.Resource] = (), **more: Any
    ) -> pulumi.ResourceOptions:
        """The options of a resource that can be made again."""
        return pulumi.ResourceOptions(
            provider=self.provider, depends_on=[*self.enabled, *depends_on], **more
        )

    def kept(
        self, depends_on: Sequence[pulumi.Resource] = (), **more: Any
    ) -> pulumi.ResourceOptions:
        """The options of what holds data, or guards it: no removal or replacement goes past it."""
        return self.options(depends_on, protect=self.plan.protect, **more)
