"""What a removal takes away, and what stays."""

from datetime import UTC, datetime

import pytest

from engine.cloud import Cloud
from trackstack.cloud_plan import Aws
from trackstack.targets import engine
from trackstack.targets.engine import Room
from trackstack.targets.engine_failures import ResourceError

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)


def test_a_removal_keeps_buckets_and_disk_and_a_later_deploy_takes_them_up_again(
    here: Room, cloud: Cloud, deployed: Aws
) -> None:
    kept = {t.id for t in (*cloud.of("s3.Bucket"), *cloud.of("ebs.Volume"))}
    cloud.objects = dict.fromkeys(kept, 3)
    engine.up(here, deployed.for_removal(NOW))
    engine.destroy(here)
    assert {thing.kind.split(".")[0] for thing in cloud.things.values()} == {"s3", "ebs"}
    assert len(cloud.of("s3.BucketPublicAccessBlock")) == 2, "a kept bucket must stay closed"
    assert cloud.snapshots == {"trackstack-team-final-20261121-030000"}
    engine.up(here, deployed)
    assert {t.id for t in (*cloud.of("s3.Bucket"), *cloud.of("ebs.Volume"))} == kept
    assert cloud.one("ec2.VolumeAttachment").inputs["volumeId"] in kept


def test_a_purge_that_is_refused_is_told_and_leaves_nothing_when_run_again(
    here: Room, cloud: Cloud, deployed: Aws
) -> None:
    engine.up(here, deployed.for_removal(NOW, purge=True))
    bucket = cloud.one("s3.Bucket", "control").id
    cloud.objects[bucket] = 1
    with pytest.raises(ResourceError, match=r"control .Bucket. failed: BucketNotEmpty") as told:
        engine.destroy(here)
    assert [failed.name for failed in told.value.failed] == ["control"]
    del cloud.objects[bucket]
    engine.destroy(here)
    assert cloud.kinds() == []
    assert cloud.snapshots == set()
