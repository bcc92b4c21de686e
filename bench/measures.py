"""Each measure is one round: pairs of values that were taken one after the other."""

import os
import secrets
from collections.abc import Iterator

from bench.contenders import Contenders, Server
from bench.figures import Sample
from bench.load import p50, throughput
from trackstack.credentials import hash_password, new_password

ARTIFACT_BYTES = 300_000_000
SECONDS = 3.0
CLIENTS = 8
USERS = 10_000


def requests(these: Contenders) -> Iterator[Sample]:
    """One client's latency and eight clients' throughput."""
    ours = _p50(these.ours)
    yield Sample("latency", ours, _p50(these.bare))
    yield Sample("socket", _p50(these.ours), _p50(these.socket))
    ours = throughput(these.ours.client, CLIENTS, SECONDS)
    yield Sample("apr1", ours, throughput(these.apr1.client, CLIENTS, SECONDS))
    yield Sample("bcrypt", ours, throughput(these.bcrypt.client, CLIENTS, SECONDS))


def artifacts(these: Contenders) -> Iterator[Sample]:
    """Speed of one large artifact in both directions."""
    content = os.urandom(1 << 20) * (ARTIFACT_BYTES >> 20)
    megabytes = len(content) / 1e6
    times = {}
    for name, server in (("ours", these.ours), ("bare", these.bare)):
        with server.client() as client:
            path = f"0/bench/{secrets.token_hex(4)}.bin"
            times[name] = client.upload(path, content), client.download(path, len(content))
    up, down = ((megabytes / a, megabytes / b) for a, b in zip(*times.values(), strict=True))
    yield Sample("upload", *up)
    yield Sample("download", *down)


def memory(these: Contenders) -> Iterator[Sample]:
    """What each holds while nobody asks, shared pages counted once."""
    yield Sample("memory", _megabytes(these.ours), _megabytes(these.bare))


def users(these: Contenders, rounds: int) -> Iterator[Sample]:
    """The same request with one user and then with ten thousand.

    The direct server, measured beside both, takes out what the machine did meanwhile.
    """
    kit = these.kit
    before = [(_p50(these.ours), _p50(these.socket)) for _ in range(rounds)]
    lines = (f"member-{n}:{hash_password(new_password())}\n" for n in range(USERS))
    file = kit.home.parent / "htpasswd"
    file.write_text("".join(lines))
    kit.run("users", "import", file)
    for one, control in before:
        yield Sample("users", _p50(these.ours), one * _p50(these.socket) / control)


def _p50(server: Server) -> float:
    with server.client() as client:
        return p50(client, SECONDS) * 1000


def _megabytes(server: Server) -> float:
    family = set()
    for process in server.processes:
        family |= {process, *process.children(recursive=True)}
    return sum(process.memory_full_info().pss for process in family) / 1e6
