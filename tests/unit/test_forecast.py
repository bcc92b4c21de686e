"""What `plan` says of a cloud's resources tells what a change means for who uses the server."""

import pytest

from trackstack.cli.resources import forecast_lines
from trackstack.targets.base import Event, Result, What


@pytest.mark.parametrize(
    ("what", "line"),
    [
        (
            "replace",
            "  REPLACE  machine (ami): a new machine: no answer while it is made and for about a "
            "minute more; data disk, address, buckets and users stay",
        ),
        (
            "change",
            "  change   machine (ami): the machine is stopped and started: no answer for some "
            "minutes; nothing is lost",
        ),
        ("remove", "  REMOVE   machine (ami)"),
    ],
)
def test_a_plan_says_for_how_long_nobody_answers(what: What, line: str) -> None:
    event = Event(resource="machine", type="x", what=what, state="planned", because=("ami",))
    assert forecast_lines(Result(events=(event,))) == [line]
