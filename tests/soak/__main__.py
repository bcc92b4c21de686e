"""`make soak`: parts of a real server are killed at random while people write to it.

Before that, deploys to each cloud's double and removals are stopped in every way at every kind of
resource, which takes some twenty minutes; and for as many minutes as asked, the same is done to
machines that boot, one on each cloud, whose power and bucket fail too. Prints its seed first, so
that a run can be repeated, and at the end what happened. Ends with 1, saying what, when an
acknowledged write is lost, something does not come back within two minutes (of a machine, three),
a process is left over, or a stopped deploy or removal does not end right.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from kits import running_kit, seed_packages
from soak import boxes, clouds, victims
from soak.load import Writer, load, wait_until_all_write
from soak.victims import Server, kill

_BACK_SECONDS = 120.0
_LONGEST_QUIET_SECONDS = 8.0
_USERS = ("ada", "grace", "bob")

Deed = Callable[[Server, random.Random], list[str]]
"""Does something bad; returns what is wrong at once."""


def _killing(who: Callable[[Server], list[psutil.Process]]) -> Deed:
    def deed(server: Server, chance: random.Random) -> list[str]:
        there = who(server)
        kill(there and [chance.choice(there)])
        return []

    return deed


def _amid_a_rotation(server: Server, chance: random.Random) -> list[str]:
    parts = (server.agent, server.mlflow, server.nginx, server.nginx_workers)
    return victims.during_rotation(server, chance.choice(parts))


def _amid_a_change(server: Server, chance: random.Random) -> list[str]:
    workers = "2" if "--workers 1 " in str(server.release().files) else "1"
    parts = (server.agent, server.mlflow_of_the_release, server.mlflow, server.nginx)
    return victims.during_release(server, chance.choice(parts), "--workers", workers)


DEEDS: dict[str, Deed] = {
    "MLflow": _killing(Server.mlflow),
    "a worker of MLflow": _killing(Server.mlflow_workers),
    "nginx": _killing(Server.nginx),
    "a worker of nginx": _killing(Server.nginx_workers),
    "the agent": _killing(Server.agent),
    "the supervisor": _killing(Server.supervisor),
    "amid a rotation": _amid_a_rotation,
    "amid a change": _amid_a_change,
}


def main() -> int:
    """Run for as long as asked; returns the exit code."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--only", choices=["clouds", "box", "server"], help="leave out the others")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    asked = parser.parse_args()
    print(f"seed {asked.seed}, {asked.minutes:g} minutes", flush=True)
    chance = random.Random(asked.seed)  # noqa: S311  nothing secret comes of it
    wrong: list[str] = []
    if asked.only in {None, "clouds"}:
        with tempfile.TemporaryDirectory(prefix="soak-") as base:
            wrong += clouds.soak(Path(base), chance)
    if asked.only in {None, "box"}:
        wrong += _in_the_box(asked.minutes * 60, chance, asked=asked.only is not None)
    for each in wrong:
        print(f"WRONG: {each}")
    if wrong or asked.only in {"clouds", "box"}:
        return 1 if wrong else 0
    with tempfile.TemporaryDirectory(prefix="soak-") as base:
        home = Path(base) / "home"
        with running_kit(home) as kit:
            seed_packages(kit.machine())
            flags = [word for name in _USERS for word in ("--user", name)]
            passwords = Path(base) / "passwords"
            kit.deploy("--workers", "2", *flags, "--password-file", passwords)
            logins = dict(line.split(":") for line in passwords.read_text().split())
            return _soak(Server(kit, logins), asked.minutes * 60, chance)


def _in_the_box(seconds: float, chance: random.Random, asked: bool) -> list[str]:
    """What is wrong; where no machine can boot that is so only when it was asked for."""
    try:
        with tempfile.TemporaryDirectory(prefix="soak-") as base:
            return boxes.soak(Path(base), seconds, chance)
    except pytest.skip.Exception as missing:
        print(f"no box: {missing}")
        return [str(missing)] if asked else []


def _soak(server: Server, seconds: float, chance: random.Random) -> int:
    writers = [Writer(server.url, (name, server.logins[name])) for name in ("ada", "grace")]
    for each in writers:
        each.begin()
    rounds: Counter[str] = Counter()
    outages: dict[str, float] = {}
    wrong: list[str] = []
    deck: list[str] = []
    until = time.monotonic() + seconds
    with load(writers):
        while time.monotonic() < until and not wrong:
            # Each has its turn before one comes again.
            deck = deck or chance.sample(sorted(DEEDS), len(DEEDS))
            name = deck.pop()
            began = time.monotonic()
            wrong = _round(server, writers, name, chance)
            outage = max(each.longest_wait(began) for each in writers)
            outages[name] = max(outages.get(name, 0), outage)
            rounds[name] += 1
            print(f"  {name:<20} nobody could write for {outage:.1f} s", flush=True)
            time.sleep(chance.uniform(0, _LONGEST_QUIET_SECONDS))
    wrong += victims.settled(server, _BACK_SECONDS)
    lost = [each for writer in writers for each in writer.lost()]
    _summary(writers, rounds, outages, len(lost))
    for each in [*wrong, *lost[:20]]:
        print(f"WRONG: {each}")
    return 1 if wrong or lost else 0


def _round(server: Server, writers: list[Writer], name: str, chance: random.Random) -> list[str]:
    wrong = DEEDS[name](server, chance)
    wrong += victims.settled(server, _BACK_SECONDS)
    try:
        wait_until_all_write(writers, _BACK_SECONDS)
    except AssertionError as error:
        wrong.append(str(error))
    return wrong


def _summary(
    writers: list[Writer], rounds: Counter[str], outages: dict[str, float], lost: int
) -> None:
    acknowledged = sum(len(each.metrics) + len(each.artifacts) for each in writers)
    refused: Counter[str] = Counter()
    for each in writers:
        refused.update(each.refused)
    print(f"\n{rounds.total()} rounds")
    for name, count in sorted(rounds.items()):
        print(f"  {count:>4} times {name:<20} longest without a write {outages[name]:6.1f} s")
    print(f"{acknowledged} writes acknowledged, {acknowledged - lost} found, {lost} lost")
    print(f"not acknowledged: {dict(sorted(refused.items())) or 'none'}")


if __name__ == "__main__":
    sys.exit(main())
