"""The benchmark's arithmetic, and that the docs show what it wrote."""

import json
import sqlite3
from pathlib import Path

import pytest

from bench.copies import copy
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
def test_no_goal_has_two_bounds(goal: str) -> None:
    assert None in (GOALS[goal].most, GOALS[goal].least)


def test_a_figure_that_falls_short_says_so() -> None:
    assert "**no**" in table([Figure("apr1", 10, 10, 1, 1)])


def test_a_figure_without_a_goal_is_only_told() -> None:
    assert table([Figure("reboot", 10, 20, 0.5, 1)]).endswith(" 0.5 |  |  |\n")


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


def test_a_copied_run_differs_in_its_id_only(tmp_path: Path) -> None:
    first, second, other = (f"{number:032x}" for number in range(3))
    database = sqlite3.connect(tmp_path / "mlflow.db")
    database.executescript("""
        CREATE TABLE runs (run_uuid TEXT PRIMARY KEY, artifact_uri TEXT);
        CREATE TABLE tags (key TEXT, value TEXT, run_uuid TEXT);
        CREATE TABLE latest_metrics (key TEXT, value FLOAT, run_uuid TEXT);
        CREATE TABLE metrics (key TEXT, value FLOAT, run_uuid TEXT);
    """)
    runs = [(run, f"mlflow-artifacts:/0/{run}/artifacts") for run in (first, second, other)]
    metrics = [("loss", 0.5, first), ("loss", 0.2, first), ("loss", 0.1, other)]
    with database:
        database.executemany("INSERT INTO runs VALUES (?, ?)", runs)
        database.executemany("INSERT INTO metrics VALUES (?, ?, ?)", metrics)
    copy(str(tmp_path / "mlflow.db"), 3, [first, second])
    found = database.execute("SELECT run_uuid, artifact_uri FROM runs").fetchall()
    totals = database.execute("SELECT total(value) FROM metrics GROUP BY run_uuid").fetchall()
    database.close()
    assert len(found) == 3 + 2 * 3
    assert all(place == f"mlflow-artifacts:/0/{run}/artifacts" for run, place in found)
    assert sorted(totals) == [(0.1,), *[(0.7,)] * 4]
