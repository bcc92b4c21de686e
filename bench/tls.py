"""TLS against plain HTTP on the same server, in a network namespace with an address of its own.

`python -m bench.tls FOLDER ROUNDS`, run by `rounds_in_a_namespace`, prints one pair a line.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.client import Place
from bench.contenders import Server, ours_of
from bench.figures import Sample
from bench.load import p50
from kits import running_kit

ADDRESS = "10.78.0.1"
SECONDS = 3.0


def rounds_in_a_namespace(folder: Path, rounds: int) -> Iterator[Sample]:
    """Measure where nothing but this can be reached; needs root."""
    there = [sys.executable, "-m", "bench.tls", str(folder), str(rounds)]
    ready = f"ip link set lo up && ip address add {ADDRESS}/32 dev lo && exec"
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", f'{ready} "$@"', "sh", *there],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    for line in done.stdout.splitlines():
        encrypted, plain = map(float, line.split())
        yield Sample("tls", encrypted, plain)


def main() -> None:
    folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
    with running_kit(folder / "tls" / "home") as kit:
        kit.deploy("--listen", ADDRESS)
        plain = ours_of(kit)
        authorities = kit.folder() / "control" / "observed" / "ca.pem"
        encrypted = Server(Place(ADDRESS, kit.port, authorities=authorities), plain.login, ())
        for _ in range(rounds):
            sys.stdout.write(f"{_p50(encrypted)} {_p50(plain)}\n")


def _p50(server: Server) -> float:
    with server.client() as client:
        return p50(client, SECONDS) * 1000


if __name__ == "__main__":
    main()
