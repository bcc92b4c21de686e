"""What every resource of an environment has: the provider, the tags, and protection of data."""

from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from trackstack.cloud_plan import Aws


@dataclass(frozen=True)
class Place:
    """The plan, and the account and region it is for."""

    plan: Aws
    provider: aws.Provider

    @classmethod
    def of(cls, plan: Aws) -> "Place":
        """With a provider that refuses credentials of any other account."""
        provider = aws.Provider("aws", region=plan.region, allowed_account_ids=[plan.account])
        return cls(plan, provider)

    def options(self, **more: Any) -> pulumi.ResourceOptions:
        """The options of a resource that can be made again."""
        return pulumi.ResourceOptions(provider=self.provider, **more)

    def kept(self, **more: Any) -> pulumi.ResourceOptions:
        """The options of what holds data, or guards it: no removal or replacement goes past it."""
        return self.options(protect=self.plan.protect, **more)
