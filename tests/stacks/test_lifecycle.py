"""What the buckets' rules remove, by date arithmetic and not by being there."""

import json
from pathlib import Path
from typing import Any

import pytest

GOLDEN = Path(__file__).parent / "golden"


def removed(rules: list[dict[str, Any]], key: str, newest: bool, days: int) -> bool:
    """Whether S3 removes a version of an object.

    Args:
        rules: of the bucket's lifecycle configuration.
        key: the object's.
        newest: whether no newer version or deletion has taken its place.
        days: since it was written, or since something newer took its place.
    """
    for rule in rules:
        if rule["status"] != "Enabled" or not key.startswith(rule["filter"]["prefix"]):
            continue
        after = rule.get("expiration" if newest else "noncurrentVersionExpiration", {})
        limit = after.get("days" if newest else "noncurrentDays")
        if limit is not None and days >= limit:
            return True
    return False


@pytest.mark.parametrize(
    ("bucket", "key", "newest", "days", "gone"),
    [
        ("artifacts", "1/run/model.pkl", True, 3650, False),
        ("artifacts", "1/run/model.pkl", False, 29, False),
        ("artifacts", "1/run/model.pkl", False, 30, True),
        ("control", "desired/users.json", True, 3650, False),
        ("control", "desired/users.json", False, 29, False),
        ("control", "desired/users.json", False, 30, True),
        ("control", "observed/machines/i-1.json", True, 3650, False),
        ("control", "observed/machines/i-1.json", False, 1, True),
        ("control", "audit/2026-11-21/users-00000001.json", True, 3650, False),
        ("control", "audit/2026-11-21/users-00000001.json", False, 3650, False),
    ],
)
def test_only_old_versions_go_and_nothing_of_the_audit(
    bucket: str, key: str, newest: bool, days: int, gone: bool
) -> None:
    resources = json.loads((GOLDEN / "plain" / "aws.json").read_text())
    rules = next(r for r in resources if r["name"] == f"{bucket}-lifecycle")["inputs"]["rules"]
    assert removed(rules, key, newest, days) is gone
