"""`python -m bench`: measures everything side by side, prints the table and keeps it.

Ratios of pairs taken one after the other, because a machine's own speed changes by the minute.
"""

import argparse
import dataclasses
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from bench import (
    cloud,
    commands,
    first,
    first_deploy,
    machines,
    measures,
    pages,
    plot,
    rotation,
    served,
    tls,
    workspace,
)
from bench.contenders import Contenders, all_of_them
from bench.figures import Sample, figures, table
from box.machines import PROGRAMS
from trackstack import __version__
from trackstack.lock import DEFAULT_MLFLOW

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
PICTURE = HERE.parent / "docs" / "pictures" / "performance.svg"
PAGE = HERE.parent / "docs" / "performance.md"

SHARED: dict[str, Callable[[Contenders], Iterator[Sample]]] = {
    "memory": measures.memory,
    "requests": measures.requests,
    "artifacts": measures.artifacts,
    "rotation": rotation.rotations,
    "pages": pages.pages,
}
"""What all servers are up for, in this order: memory before anybody asked."""
PLACES: dict[str, Callable[[Path, int], Iterator[Sample]]] = {
    "tls": tls.rounds_in_a_namespace,
    "cloud": cloud.rounds_in_a_cloud,
    "machines": machines.machines,
    "served": served.models,
    "workspace": workspace.workspaces,
}
"""What has a place of its own, which it makes."""
APART = ("commands", "users", "first-deploy", *PLACES, "first")


def main() -> None:
    asked = _arguments()
    names = asked.only or [*SHARED, *APART]
    with tempfile.TemporaryDirectory(prefix="bench-") as made:
        samples = list(_samples(Path(made), names, asked.rounds))
    sys.stdout.write(table(figures(samples)))
    new = {sample.goal for sample in samples}
    samples += [sample for sample in _kept() if sample.goal not in new]
    found = figures(samples)
    about = {
        "at": datetime.now(UTC).date().isoformat(),
        "kit": __version__,
        "mlflow": DEFAULT_MLFLOW,
        "nginx": _nginx(),
        "python": platform.python_version(),
        "processors": os.cpu_count(),
    }
    content = {
        "about": about,
        "figures": [dataclasses.asdict(each) for each in found],
        "samples": [dataclasses.asdict(each) for each in samples],
    }
    RESULTS.write_text(json.dumps(content, indent=1) + "\n")
    plot.draw(found, PICTURE)
    _put_into_page(table(found))


def _kept() -> list[Sample]:
    """What runs before this one measured."""
    if not RESULTS.exists():
        return []
    return [Sample(**each) for each in json.loads(RESULTS.read_text())["samples"]]


def _samples(folder: Path, names: list[str], rounds: int) -> Iterator[Sample]:
    together = [name for name in names if name in SHARED or name in {"commands", "users"}]
    if together:
        with all_of_them(folder) as these:
            programs = commands.installed(folder) if "commands" in names else None
            for round_ in range(1, rounds + 1):
                for name in (name for name in together if name in SHARED):
                    _say(f"round {round_} of {rounds}: {name}")
                    yield from SHARED[name](these)
                if programs is not None:
                    _say(f"round {round_} of {rounds}: commands")
                    yield from commands.commands(these, programs)
            if "users" in names:
                _say("users")
                yield from measures.users(these, rounds)
    if "first-deploy" in names:
        _say("first deploys: once, they wait as a cloud lets wait")
        yield from first_deploy.first_deploys(folder)
    for name in (name for name in names if name in PLACES):
        _say(name)
        yield from PLACES[name](folder, rounds)
    if "first" in names:
        for round_ in range(rounds + 1):
            _say(f"first start {round_} of {rounds}")
            found = list(first.first_starts(folder, round_, DEFAULT_MLFLOW))
            if round_:  # the one before only warms the caches
                yield from found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--only", action="append", choices=[*SHARED, *APART], help="measure this one, keep the rest"
    )
    needed = ("htpasswd", "chromedriver", "unshare", *PROGRAMS)
    missing = [name for name in needed if not shutil.which(name)]
    if missing:
        parser.exit(4, f"The benchmark needs {', '.join(missing)}; `make bench` installs them.\n")
    if os.geteuid() != 0:
        parser.exit(2, "The benchmark makes a network namespace, so it has to be run by root.\n")
    return parser.parse_args()


def _put_into_page(rows: str) -> None:
    """The page shows the table of the last whole run, between its two marks."""
    before, begin, rest = PAGE.read_text().partition("<!-- figures -->\n")
    _, end, after = rest.partition("<!-- end of figures -->\n")
    PAGE.write_text(f"{before}{begin}{rows}{end}{after}")


def _nginx() -> str:
    told = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr
    return told.strip().rpartition("/")[2]


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    main()
