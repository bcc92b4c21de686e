"""Waits until a machine reports that it has made desired state true."""

import time
from collections.abc import Callable
from datetime import timedelta

from trackstack.control.base import read
from trackstack.desired import Applied, Observed, StepReport, observed_key
from trackstack.environment import Environment
from trackstack.errors import NotProvenError, TrackstackError
from trackstack.operations import clocks
from trackstack.operations.first_boot import FirstBoot
from trackstack.tracking import http_client

OnSteps = Callable[[tuple[StepReport, ...]], None]
"""Told the machine's steps whenever they change."""

SILENT = timedelta(minutes=4)
"""The age of a report from which a cloud's machine counts as silent: an idle one writes each
minute."""
_SILENCE_SECONDS = 900.0
_CLOCK_SECONDS = 30.0
"""Of silence, after which its clock may be why: an agent hears of a change within two."""
_SHOWN_LINES = 12


def observed(environment: Environment) -> Observed | None:
    """What the environment's machine says of itself, or None when it never spoke."""
    return last_report(environment)[0]


def last_report(environment: Environment) -> tuple[Observed | None, str | None]:
    """The machine's last report and its tag; both None when it never spoke."""
    machine = environment.outputs.machine
    return read(environment.target.store, Observed, observed_key(machine))


def report_age(environment: Environment) -> timedelta | None:
    """How old the machine's last report is, by the store's own clock; None when it never spoke."""
    seen = environment.target.store.modified(observed_key(environment.outputs.machine))
    return seen[1] - seen[0] if seen else None


def report_tag(environment: Environment) -> str | None:
    """The tag of the machine's last report, or None when it never spoke."""
    return last_report(environment)[1]


def wait_until_applied(
    environment: Environment,
    wanted: Applied,
    *,
    outdated: str | None = None,
    on_steps: OnSteps = lambda _: None,
) -> Observed:
    """Wait until every wanted generation holds on the machine.

    Args:
        environment: whose machine.
        wanted: generations; 0 for a document that does not matter.
        outdated: the tag of a report that does not count: of a machine that has ended since.
        on_steps: told what the machine does meanwhile.

    Raises:
        NotProvenError: the machine says that a step failed, with that step's output; or it has no
            agent yet, and its console says why; or its clock is wrong, and it is silent.
        TrackstackError: the machine is silent.
    """
    store = environment.target.store
    machine = environment.outputs.machine
    key = observed_key(machine)
    silent_until = time.monotonic() + environment.target.first_word_seconds
    heard: str | None = None
    clock_at = time.monotonic() + _CLOCK_SECONDS
    # The cause of a failure told before may be mended by now; the agent's next try will say.
    stale = read(store, Observed, key)[1] if outdated is None else None
    boots = FirstBoot(environment) if stale is None and environment.place else None
    while True:
        report, tag = read(store, Observed, key)
        if report is not None and tag != outdated:
            if tag != heard:
                # A step may take long without a word: packages over a slow network.
                heard, silent_until = tag, time.monotonic() + _SILENCE_SECONDS
                clock_at = time.monotonic() + _CLOCK_SECONDS
            failed = report.failed_step()
            if failed is None or tag != stale:
                on_steps(report.steps)
            if _reached(report.applied, wanted):
                return report
            if failed is not None and tag != stale and _reached(report.seen, wanted):
                raise failure(failed)
        if store.wait_for_change({key: tag}, timeout=1.0):
            continue
        if boots is not None and heard is None:
            boots.must_get_on()
        if not environment.target.running():
            raise TrackstackError(
                f"The machine of environment {environment.name!r} does not run.",
                "Start it again with the command that deployed it.",
            )
        if time.monotonic() > clock_at:
            with http_client(environment.url, environment.authorities()) as server:
                clocks.must_agree(server)
            clock_at = silent_until
        if time.monotonic() > silent_until:
            raise TrackstackError(
                f"The agent of environment {environment.name!r} is silent.",
                f"Read what it logged: `trackstack logs agent -e {environment.name}`.",
            )


def _reached(applied: Applied, wanted: Applied) -> bool:
    return (
        applied.release >= wanted.release
        and applied.users >= wanted.users
        and applied.cleanup >= wanted.cleanup
    )


def failure(step: StepReport) -> NotProvenError:
    """A step's failure, in the words of who asked for it."""
    lines = (step.output or "").strip().splitlines()[-_SHOWN_LINES:]
    output = "".join(f"\n    {line}" for line in lines)
    return NotProvenError(
        f"The machine's step {step.name!r} failed: {step.problem}.{output}",
        "What served before goes on serving. Mend the cause; the agent tries again by itself.",
    )
