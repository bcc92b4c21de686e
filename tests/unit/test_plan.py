"""The plan: pure, the same from the same, and what differs is told."""

import json

import pytest

from trackstack.plan import Difference, Plan, differences
from unit import golden
from unit.making import LOCK, OTHER_LOCK, plan


def test_the_plan_of_a_spec_is_the_golden_one() -> None:
    golden.compare("plan", {"local.json": json.dumps(plan().model_dump(), indent=1) + "\n"})


def test_a_plan_comes_back_from_json_as_it_was() -> None:
    assert Plan.model_validate_json(plan().model_dump_json()) == plan()


def test_nothing_of_a_plan_listens_beyond_this_computer() -> None:
    made = plan(port=9000)
    assert made.nginx.address == "127.0.0.1"
    assert set(made.nginx.hosts) == {"127.0.0.1:9000", "localhost:9000"}


def test_a_reader_gets_the_number_of_packages_not_the_lock() -> None:
    assert plan().brief()["packages"] == 2


SCIPY = f"scipy==1.0 \\\n    --hash=sha256:{'5' * 64}\n"
REHASHED = LOCK.replace("2" * 64, "4" * 64)
CHANGES = [
    ({}, []),
    ({"workers": 3}, [("mlflow.workers", "2", "3")]),
    ({"mlflow": "3.16.0"}, [("mlflow.version", "3.17.2", "3.16.0")]),
    (
        {"port": 9000},
        [
            ("nginx.port", "8080", "9000"),
            ("nginx.hosts", "127.0.0.1:8080, localhost:8080", "127.0.0.1:9000, localhost:9000"),
        ],
    ),
    ({"packages": OTHER_LOCK}, [("packages.numpy", "2.4.6", "2.5.0")]),
    ({"packages": LOCK.partition("numpy")[0]}, [("packages.numpy", "2.4.6", "not installed")]),
    ({"packages": LOCK + SCIPY}, [("packages.scipy", None, "1.0")]),
    ({"packages": REHASHED}, [("packages", "the recorded lock", "another lock")]),
]


@pytest.mark.parametrize(("asked", "told"), CHANGES)
def test_a_difference_is_told_with_its_key_before_and_after(
    asked: dict[str, object], told: list[tuple[str, str | None, str]]
) -> None:
    expected = [Difference(key=key, before=before, after=after) for key, before, after in told]
    found = differences(plan(), plan(**asked))  # type: ignore[arg-type]
    assert sorted(found, key=lambda each: each.key) == sorted(expected, key=lambda each: each.key)


def test_before_the_first_deploy_every_key_is_new() -> None:
    found = differences(None, plan())
    assert {each.before for each in found} == {None}
    told = {each.key: each.after for each in found}
    assert told["mlflow.version"] == "3.17.2"
    assert told["packages"] == "2 pinned with hashes"
    assert {key.split(".")[0] for key in told} == set(Plan.model_fields) - {"cloud", "compose"}
