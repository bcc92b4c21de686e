"""Moments in the life of a machine on AWS that can be told from outside, to cut its power at them.

What the agent is at shows in what it asks its control store, where it is held: it stands at the
very moment until its power is cut. What user-data is at shows in the files that it makes, which the
host sees too and looks at twenty times a second: of what was quicker, the cut comes a bit later.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Event

from box.deployed import Box
from engine.world.aws import AwsWorld
from engine.world.front import Call
from kits import eventually
from trackstack.agent.converge import STEPS
from trackstack.desired import Observed, Users

OF_A_RELEASE = [step.name for step in STEPS if step.of_release]
There = Callable[[], bool]
Moment = Callable[[Box], AbstractContextManager[There]]
"""Gives what tells whether a machine has come to it, as long as it is waited for."""

_NEXT_SECONDS = 300.0
"""A boot and a step take a tenth of it; with six machines side by side on two cores, a third."""
_REPORTS = "observed/machines/"


def files(made: Callable[[Path], bool]) -> Moment:
    """The machine has made certain files.

    Args:
        made: tells it, given the machine's root.
    """

    @contextmanager
    def moment(box: Box) -> Iterator[There]:
        def there() -> bool:
            root = _root(box)
            try:
                return root is not None and made(root)
            except OSError:  # it looked while the machine went
                return False

        yield there

    return moment


def begins(step: str) -> Moment:
    """The agent is about to begin a step of a release that is new to it."""

    def reported(box: Box, call: Call) -> bool:
        report = _report(box, call)
        return report is not None and (step, "running") in {
            (each.name, each.state) for each in report.steps
        }

    return _held(reported)


def lets_in(generation: int) -> Moment:
    """The agent has put users' passwords in place, and says so.

    Args:
        generation: of the document with those users, or an earlier one.
    """

    def reported(box: Box, call: Call) -> bool:
        report = _report(box, call)
        return report is not None and report.applied.users >= generation

    return _held(reported)


def told(key: str) -> Moment:
    """A laptop has written a document to the control store, and does not know yet that it has."""

    def written(_: Box, call: Call) -> bool:
        return call.operation == "PutObject" and call.parameters["Key"] == key

    return _held(written)


def reads(key: str) -> Moment:
    """The agent has asked for a document and not got it yet."""

    def asked(_: Box, call: Call) -> bool:
        return (
            call.operation == "GetObject"
            and call.parameters["Key"] == key
            and _of_machine(call)
            and call.status == 200
        )

    return _held(asked)


def cut_at(box: Box, name: str, moment: Moment, work: "Future[str]") -> None:
    """Cut the machine's power at a moment; it boots again.

    Args:
        name: of the moment, for who reads that it never came.
        work: what goes on meanwhile on the laptop, which must not end before.
    """
    seen = False
    with moment(box) as there:

        def over() -> bool:
            # What was there may have passed at the next look.
            nonlocal seen
            seen = seen or there()
            return seen or work.done()

        eventually(over, _NEXT_SECONDS)
        if not seen and work.done():
            raise AssertionError(f"the command ended before {name!r}: {work.result()}")
        assert seen, f"never seen: {name!r}\n{box.console()}"
        box.machines.cut_power(box.machine)


@contextmanager
def written(box: Box, key: str) -> Iterator[list[bytes]]:
    """All that is written meanwhile to the control store under a key, the oldest first."""
    found: list[bytes] = []

    def note(call: Call) -> None:
        if call.operation == "PutObject" and call.status == 200 and call.parameters["Key"] == key:
            found.append(_stored(box, str(call.parameters["Bucket"]), key))

    listeners = _world(box).front.listeners
    listeners.append(note)
    try:
        yield found
    finally:
        listeners.remove(note)


def users_generation(box: Box) -> int:
    """How many changes of users were asked for so far."""
    return Users.from_bytes(_stored(box, _bucket(box), Users.KEY)).generation


def _held(when: Callable[[Box, Call], bool]) -> Moment:
    """Whoever makes a certain call to the cloud gets its answer only when nobody waits any more."""

    @contextmanager
    def moment(box: Box) -> Iterator[There]:
        reached, over = Event(), Event()

        def hold(call: Call) -> None:
            if not over.is_set() and when(box, call):
                reached.set()
                over.wait()

        listeners = _world(box).front.listeners
        listeners.append(hold)
        try:
            yield reached.is_set
        finally:
            over.set()
            listeners.remove(hold)

    return moment


def _report(box: Box, call: Call) -> Observed | None:
    """What the machine says of itself, when a call is that."""
    if call.operation != "PutObject" or call.status != 200:
        return None
    bucket, key = call.parameters["Bucket"], call.parameters["Key"]
    if not (_of_machine(call) and key.startswith(_REPORTS)):
        return None
    return Observed.from_bytes(_stored(box, bucket, key))


def _stored(box: Box, bucket: str, key: str) -> bytes:
    got = _world(box).client("s3").get_object(Bucket=bucket, Key=key)
    return bytes(got["Body"].read())


def _bucket(box: Box) -> str:
    """The environment's control bucket, which its machine asks all the time."""
    calls = _world(box).front.calls_of("-machine")
    return next(
        str(call.parameters["Bucket"])
        for call in calls
        if call.operation == "GetObject" and call.parameters["Key"] == Users.KEY
    )


def _of_machine(call: Call) -> bool:
    return "-machine" in call.who


def _root(box: Box) -> Path | None:
    """The root of the only machine, as this computer sees it; None while it is off."""
    guests = list(box.machines.guests.values())
    if not guests or not guests[0].devices or guests[0].program is None:
        return None
    leader = guests[0].leader()
    return Path(f"/proc/{leader}/root") if leader else None


def _world(box: Box) -> AwsWorld:
    assert isinstance(box.world, AwsWorld), "only AWS's front can be listened to"
    return box.world
