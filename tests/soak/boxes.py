"""Machines that boot, on both clouds: each round one of their parts fails at a random moment.

Meanwhile people log, and in some rounds a password is rotated or a release rolled out. After each
round everything is back by itself, and every write that was acknowledged is there.
"""

import random
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx

from box.deployed import Box, box
from kits import eventually
from soak.load import Writer, load, wait_until_all_write

CLOUDS = ("aws", "gcp")
_BACK_SECONDS = 180.0
_LONGEST_AWAY_SECONDS = 20.0
_LONGEST_QUIET_SECONDS = 15.0
_WRITERS = 2
_OTHER = "grace"
_WORKERS = "workers"
_REFUSED = {401, 429}

Deed = Callable[[Box, random.Random], None]
Work = Callable[[Box, dict[str, str]], list[str]]
"""What somebody does on the laptop meanwhile; returns what is wrong afterwards.

Given what earlier rounds left, and adding to it: a password by its user, and the number of workers.
"""


def _cut_power(made: Box, _: random.Random) -> None:
    made.machines.cut_power(made.machine)


def _killing(units: str) -> Deed:
    """Kill what services run, as kill -9 does, by a pattern of their names."""

    def deed(made: Box, _: random.Random) -> None:
        # Nothing may run yet, or be on its way.
        made.guest.attempt(f"systemctl kill --kill-whom=main --signal=KILL '{units}'")

    return deed


def _part(made: Box, chance: random.Random) -> None:
    cloud = made.machines.secured
    assert cloud is not None
    with made.machines.wires.away(cloud.address):
        time.sleep(chance.uniform(1, _LONGEST_AWAY_SECONDS))


DEEDS: dict[str, Deed] = {
    "power": _cut_power,
    "the agent": _killing("trackstack.service"),
    "nginx": _killing("trackstack-nginx.service"),
    "MLflow": _killing("trackstack-mlflow@*.service"),
    "bucket away": _part,
}


def _nothing(_made: Box, _known: dict[str, str]) -> list[str]:
    return []


def _rotation(made: Box, known: dict[str, str]) -> list[str]:
    old, new = known[_OTHER], made.people("rotate", _OTHER)
    known[_OTHER] = new
    if not eventually(lambda: _asks(made, new) == 200, _BACK_SECONDS):
        return [f"a new password gets {_asks(made, new)}"]
    got = _asks(made, old)
    return [] if got in _REFUSED else [f"the password before a rotation gets {got}"]


def _asks(made: Box, password: str) -> int:
    """How somebody's question is answered; 0 when it is not."""
    try:
        return made.status(_OTHER, password)
    except httpx.TransportError:
        return 0


def _release(made: Box, known: dict[str, str]) -> list[str]:
    """Other workers; a deploy that was disturbed while it verified says so, and is run again."""
    wanted = "2" if known.get(_WORKERS) == "1" else "1"
    known[_WORKERS] = wanted
    first = made.try_deploy("--workers", wanted)
    if first.returncode not in (0, 1, 3):
        return [f"a deploy amid trouble ended with {first.returncode}: {first.stderr}"]
    if first.returncode:
        eventually(made.serves, _BACK_SECONDS)
        made.deploy()
    return [] if made.workers() == int(wanted) else [f"it has not {wanted} workers"]


WORKS: dict[str, Work] = {"nothing": _nothing, "a rotation": _rotation, "a release": _release}


def soak(base: Path, seconds: float, chance: random.Random) -> list[str]:
    """Have rounds on both clouds.

    Args:
        base: an empty folder.
        seconds: for both together, beyond the deploys.

    Returns:
        What is wrong.
    """
    wrong: list[str] = []
    for cloud in CLOUDS:
        with box(cloud, base / cloud) as made:
            try:
                made.first_deploy()
                wrong += _rounds(made, seconds / len(CLOUDS), chance)
            except AssertionError as error:
                wrong.append(f"{cloud}: {error}")
    return wrong


def _rounds(made: Box, seconds: float, chance: random.Random) -> list[str]:
    known = {_OTHER: made.people("add", _OTHER)}
    writers = [made.writer() for _ in range(_WRITERS)]
    wrong: list[str] = []
    rounds = 0
    deeds: list[str] = []
    works: list[str] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until and not wrong:
        # Each has its turn before one comes again.
        deeds = deeds or chance.sample(sorted(DEEDS), len(DEEDS))
        works = works or chance.sample(sorted(WORKS), len(WORKS))
        deed, work = deeds.pop(), works.pop()
        moment = chance.uniform(0, _LONGEST_QUIET_SECONDS)
        name = f"{deed}, amid {work}, after {moment:.1f} s"
        began = time.monotonic()
        with load(writers), ThreadPoolExecutor(1) as pool:
            worked = pool.submit(WORKS[work], made, known)
            time.sleep(moment)
            DEEDS[deed](made, chance)
            wrong += _outcome(worked)
            wrong += _writing(writers)
        outage = max(each.longest_wait(began) for each in writers)
        if not wrong:
            wrong += [each for writer in writers for each in writer.lost()]
        wrong = [f"{made.cloud}, {name}: {each}" for each in wrong]
        rounds += 1
        print(f"  {made.cloud:<4} {name:<48} nobody could write for {outage:.1f} s", flush=True)
    acknowledged = sum(len(each.metrics) + len(each.artifacts) for each in writers)
    print(f"  {made.cloud:<4} {rounds} rounds, {acknowledged} writes acknowledged", flush=True)
    return wrong


def _outcome(worked: "Future[list[str]]") -> list[str]:
    try:
        return worked.result()
    except AssertionError as error:
        return [str(error)]


def _writing(writers: list[Writer]) -> list[str]:
    try:
        wait_until_all_write(writers, _BACK_SECONDS)
    except AssertionError as error:
        return [str(error)]
    return []
