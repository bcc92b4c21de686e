"""Runs the agent's step for a managed database, alone, and kills it where it is told to.

Started in a machine's folder; argument 1 is the release, 2 and 3 are the cloud's first login. For
orders and answers see driver.py. What the cloud would be asked for is given here: the worlds of
tests/engine ask for it.
"""

import sys
from pathlib import Path

from driver import Deadly, serve

from trackstack.agent import ensure_database
from trackstack.agent.converge import Step
from trackstack.agent.machine import StepError
from trackstack.desired import Release
from unit.making import a_round


def main() -> None:
    release = Release.from_bytes(Path(sys.argv[1]).read_bytes())
    ensure_database.first_login = lambda _: (sys.argv[2], sys.argv[3])

    def run(deadly: Deadly) -> bool:
        sys.addaudithook(deadly.heard)
        step = deadly.watched(Step("database", ensure_database.ensure_database))
        try:
            step.ensure(a_round(release=release))
        except StepError as error:
            print(error, file=sys.stderr, flush=True)
            return False
        return True

    serve(run)


if __name__ == "__main__":
    main()
