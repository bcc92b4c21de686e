"""A change of release switches from one MLflow to the next without a failed request.

With a real supervisor and nginx, and a stand-in for MLflow, so that it can be done often.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from boxes import DEADLINE_SECONDS, Box, bystander, running_box

BYSTANDERS = 3
CHANGES = 6


@pytest.fixture
def box() -> Iterator[Box]:
    """A machine of this test's own."""
    with running_box(driven=True) as made:
        yield made


def test_changes_of_workers_fail_nobodys_request(box: Box) -> None:
    box.want_users({"ada": "one"})
    box.want_release(workers=1)
    assert box.round().healthy, box.observed()
    with ExitStack() as stack:
        statuses = [
            stack.enter_context(bystander(lambda: box.ask("ada", "one")[0], pause=0.001))
            for _ in range(BYSTANDERS)
        ]
        for change in range(CHANGES):
            box.want_release(workers=2 + change)
            assert box.round().healthy, box.observed()
    seen = [status for each in statuses for status in each]
    assert len(seen) > 100 * CHANGES, "the bystanders hardly asked anything"
    assert [status for status in seen if status != 200] == []


def test_a_request_under_way_is_answered_by_the_release_it_was_sent_to(box: Box) -> None:
    box.want_users({"ada": "one"})
    box.want_release(workers=1)
    assert box.round().healthy, box.observed()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(box.ask, "ada", "one", path="/slow")
        until = time.monotonic() + DEADLINE_SECONDS
        while not (box.machine / "tmp" / "slow-request").exists():
            assert time.monotonic() < until, "the slow request never reached MLflow"
            time.sleep(0.01)
        release = box.want_release(workers=2)
        assert box.round().healthy, box.observed()
        assert slow.result() == (200, "workers 1\n")
    assert box.faults(release, 2, {"ada": "one"}) == []


def test_a_round_that_changes_nothing_has_no_effect_but_its_report(box: Box) -> None:
    box.want_users({"ada": "one"})
    release = box.want_release(workers=1)
    assert box.round().healthy, box.observed()
    before = box.files()
    services = box.services()
    assert box.round().healthy, box.observed()
    assert box.files() == before
    assert box.services() == services
    assert box.faults(release, 1, {"ada": "one"}) == []
