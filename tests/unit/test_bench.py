"""The benchmark's arithmetic, and that the docs show what it wrote."""

import json
from pathlib import Path

import pytest

from bench.figures import GOALS, Figure, Sample, figures, table
from bench.first_deploy import SECONDS, slowest_chain

ROOT = Path(__file__).parents[2]


def test_a_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    rounds = [Sample("socket", 10, 10), Sample("socket", 40, 20), Sample("socket", 3, 1)]
    (figure,) = figures(rounds)
    assert (figure.ours, figure.theirs, figure.ratio, figure.rounds) == (10, 10, 2, 3)


def test_nothing_against_nothing_is_the_count_itself() -> None:
    (figure,) = figures([Sample("bystanders", 0, 0)])
    assert figure.ratio == 0
    assert figure.reached


@pytest.mark.parametrize(
    ("goal", "ratio", "reached"),
    [
        ("socket", 1.10, True),
        ("socket", 1.11, False),
        ("apr1", 1.40, True),
        ("apr1", 1.39, False),
        ("bystanders", 1, False),
    ],
)
def test_a_goal_is_reached_up_to_its_bound(goal: str, ratio: float, reached: bool) -> None:
    assert Figure(goal, 1, 1, ratio, 1).reached is reached


@pytest.mark.parametrize("goal", GOALS)
def test_every_goal_has_one_bound(goal: str) -> None:
    assert (GOALS[goal].most is None) != (GOALS[goal].least is None)


def test_a_figure_that_falls_short_says_so() -> None:
    assert "**no**" in table([Figure("apr1", 10, 10, 1, 1)])


def test_the_performance_page_shows_the_last_results() -> None:
    results = json.loads((ROOT / "bench" / "results.json").read_text())
    found = [Figure(**each) for each in results["figures"]]
    assert {figure.goal for figure in found} == set(GOALS)
    assert table(found) in (ROOT / "docs" / "performance.md").read_text()
    assert found == figures([Sample(**each) for each in results["samples"]])


def test_the_slowest_chain_is_of_things_that_need_each_other() -> None:
    vpc, database, disk = SECONDS["ec2.Vpc"], SECONDS["rds.Instance"], SECONDS["ebs.Volume"]
    resources = {
        "stack": {"type": "pulumi:pulumi:Stack"},
        "vpc": {"type": "aws:ec2/vpc:Vpc", "parent": "stack"},
        "disk": {"type": "aws:ebs/volume:Volume", "parent": "stack"},
        "database": {"type": "aws:rds/instance:Instance", "dependencies": ["vpc", "of another"]},
    }
    assert slowest_chain(resources) == vpc + database
    del resources["database"]
    assert slowest_chain(resources) == max(vpc, disk)
