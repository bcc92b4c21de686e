"""What is measured, against what, and how far it should reach: the one table of `make bench`."""

import statistics
from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """One line of the table.

    Attributes:
        work: what is done, and against what.
        unit: of the two measured values.
        most: the ratio ours / theirs should be no more than this.
        least: or no less than this; without either, the figure is only told.
    """

    work: str
    unit: str
    most: float | None = None
    least: float | None = None

    @property
    def reach(self) -> str:
        if self.most is not None:
            return f"at most {self.most:g}"
        return f"at least {self.least:g}" if self.least is not None else ""

    def reached_by(self, ratio: float) -> bool | None:
        if self.most is not None:
            return ratio <= self.most
        return ratio >= self.least if self.least is not None else None


GOALS = {
    "latency": Goal(
        "log_metric p50, 1 client with keepalive, against `mlflow server` as it comes",
        "ms",
        most=1 / 8,
    ),
    "socket": Goal(
        "the same, against the fastest direct set-up known (a unix socket, no nginx)",
        "ms",
        most=1.10,
    ),
    "apr1": Goal(
        "log_metric throughput, 8 clients, against the tutorial with apr1", "1/s", least=1.4
    ),
    "bcrypt": Goal("the same, against the tutorial with bcrypt-12", "1/s", least=40),
    "memory": Goal("memory at idle, against `mlflow server` as it comes", "MB", most=0.25),
    "upload": Goal("300 MB artifact up, against MLflow direct", "MB/s", least=0.85),
    "download": Goal("300 MB artifact down, against MLflow direct", "MB/s", least=0.95),
    "users": Goal("log_metric p50 with 10,000 users, against one", "ms", most=1.1),
    "rotation": Goal(
        "rotation: from the write until the new password works and the old does not, against 10 ms",
        "ms",
        most=1,
    ),
    "bystanders": Goal("bystanders' failed requests during 30 rotations under load", "", most=0),
    "page": Goal("the UI's first load, against the tutorial", "MB", most=0.35),
    "again": Goal("requests of the UI's next load, against the tutorial", "", most=0.99),
    "tls": Goal("log_metric p50 over TLS, against plain HTTP", "ms", most=1.1),
    "help": Goal("`trackstack --help`, against a bare Typer app", "ms", most=1.5),
    "unchanged": Goal(
        "`trackstack deploy local` with nothing to change, against `--help`", "ms", most=4
    ),
    "no-op": Goal(
        "`trackstack deploy aws` with nothing to change, its check included, against the bare "
        "automation API running the same program",
        "s",
        most=1.25,
    ),
    "peak": Goal("peak memory of that deploy's largest process, against the same", "MB", most=1.25),
    "status": Goal(
        "`trackstack status` of a cloud, against twice `--help` and the SDK with one request",
        "ms",
        most=1,
    ),
    "first-deploy-postgres": Goal(
        "a first `trackstack deploy aws --database postgres` until it is verified, against the "
        "slowest chain of resources by the double's stated seconds",
        "s",
        most=1.05,
    ),
    "first-deploy-sqlite": Goal("the same with SQLite", "s", most=1.05),
    "user-data": Goal("the machine's user-data, against 8 KB", "bytes", most=1),
    "first-boot": Goal(
        "a cloud's machine from power-on until MLflow's own page comes with a login, against the "
        "tutorial's start script",
        "s",
        most=0.3,
    ),
    "reboot": Goal("from `reboot` until that page comes again, against the same", "s"),
    "replacement": Goal(
        "from the loss of a machine, with a deploy at once, until another serves its data, against "
        "the tutorial's first boot",
        "s",
    ),
    "machine-memory": Goal(
        "memory of all that runs in a machine at idle, against the tutorial's", "MB", most=0.4
    ),
    "machine-latency": Goal(
        "log_metric p50 from another host over TLS, against the tutorial in plain HTTP",
        "ms",
        most=1,
    ),
    "machine-throughput": Goal("log_metric throughput, 8 clients, likewise", "1/s", least=1),
    "edge": Goal(
        "`trackstack users rotate` in a cloud until it holds, median of 20, against 15 s",
        "s",
        most=1,
    ),
    "edge-worst": Goal("the same, the worst of 20", "s", most=1),
    "full-log": Goal(
        "log_metric p50 with 1,000 users, 10,000 runs and 1,000,000 metrics, against the empty "
        "server",
        "ms",
    ),
    "full-search": Goal(
        "the search for an experiment's newest 100 runs, likewise: that one is answered with none",
        "ms",
    ),
    "full-page": Goal("the same, against a server that has these 100 runs only", "ms"),
    "served-1": Goal(
        "a served scikit-learn model behind nginx and the login, 1 client, against plain "
        "`mlflow models serve`",
        "1/s",
        least=0.95,
    ),
    "served-8": Goal("the same, 8 clients", "1/s", least=1),
    "served-memory": Goal("memory of that model's server, against the same", "MB"),
    "workspace-up": Goal(
        "a workspace from stopped until MLflow and JupyterLab answer, images made, against the "
        "tutorial's stack of the same services and images",
        "s",
    ),
    "workspace-upload": Goal(
        "100 MB artifact up through the server to SFTP, against MLflow's client straight to it",
        "MB/s",
        least=0.8,
    ),
    "first": Goal(
        "the first `make up` with warm package caches, against the tutorial's steps", "s", most=0.7
    ),
}


_VERDICTS = {True: "yes", False: "**no**", None: ""}


@dataclass(frozen=True)
class Sample:
    """One round's pair: our value and theirs, measured one after the other."""

    goal: str
    ours: float
    theirs: float


@dataclass(frozen=True)
class Figure:
    """One goal's medians.

    Attributes:
        ratio: the median of the rounds' own ratios, so that a slow moment hits both sides.
    """

    goal: str
    ours: float
    theirs: float
    ratio: float
    rounds: int

    @property
    def reached(self) -> bool | None:
        return GOALS[self.goal].reached_by(self.ratio)


def figures(samples: list[Sample]) -> list[Figure]:
    """The medians of all samples, in the order of the goals."""
    found = []
    for goal in GOALS:
        rounds = [sample for sample in samples if sample.goal == goal]
        if rounds:
            found.append(
                Figure(
                    goal,
                    statistics.median(sample.ours for sample in rounds),
                    statistics.median(sample.theirs for sample in rounds),
                    statistics.median(_ratio(sample) for sample in rounds),
                    len(rounds),
                )
            )
    return found


def table(found: list[Figure]) -> str:
    """The figures as a Markdown table."""
    lines = [
        "| work | ours | theirs | ours / theirs | to reach | |",
        "|---|---:|---:|---:|---|---|",
    ]
    for figure in found:
        goal = GOALS[figure.goal]
        unit = f" {goal.unit}" if goal.unit else ""
        lines.append(
            f"| {goal.work} | {figure.ours:.3g}{unit} | {figure.theirs:.3g}{unit} "
            f"| {figure.ratio:.3g} | {goal.reach} | {_VERDICTS[figure.reached]} |"
        )
    return "\n".join(lines) + "\n"


def _ratio(sample: Sample) -> float:
    return sample.ours / sample.theirs if sample.theirs else sample.ours
