"""Finds the account that a person's credentials lead to."""

import importlib

from trackstack.place import Place


def locate(
    target: str, region: str | None, profile: str | None = None, account: str | None = None
) -> Place:
    """Where these credentials lead.

    Args:
        target: 'aws' or 'gcp'.
        region: as asked, or None for what the cloud's own tools are set up with.
        profile: an AWS profile.
        account: the account or project that it must be, or None.

    Raises:
        UsageError: no region is known, or it is another account.
        MissingError: the cloud's tools, or credentials, are missing.
        TrackstackError: the credentials do not work.
    """
    cloud = importlib.import_module("trackstack.targets.cloud")
    found: Place = cloud.account_module(target).locate(region, profile, account)
    return found
