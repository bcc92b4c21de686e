"""How long a rotation takes to hold on the server, and what the others notice of it."""

import http.client
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

from bench.client import Client, Login
from bench.contenders import Contenders, Server
from bench.figures import Sample
from trackstack.control.base import change, read
from trackstack.control.directory import DirectoryStore
from trackstack.credentials import hash_password, new_password
from trackstack.desired import Observed, User, Users, observed_key
from trackstack.targets.local import MACHINE

ROTATIONS = 30
BYSTANDERS = 4
GIVE_UP_SECONDS = 30
ALLOWED_MS = 10.0
SHUT = "/gateway/bench"
"""nginx itself answers here, once the login is right: MLflow's queue is not what is measured."""
LET_IN = 404
REFUSED = {401, 429}


def rotations(these: Contenders) -> Iterator[Sample]:
    """The password of one user changes again and again while others work on."""
    store = DirectoryStore(these.kit.folder() / "control")
    took = []
    old = new_password()
    _write(store, old)
    with _bystanders(these.ours) as failed:
        for _ in range(ROTATIONS):
            _wait_until_idle(store)
            new = new_password()
            took.append(_rotation(store, these.ours, old, new))
            old = new
    yield Sample("rotation", statistics.median(took) * 1000, ALLOWED_MS)
    yield Sample("bystanders", len(failed), 0)


def _rotation(store: DirectoryStore, server: Server, old: str, new: str) -> float:
    """Seconds from the write until the old password is refused and the new one works."""
    with (
        Client(server.place, Login("rotated", old)) as before,
        Client(server.place, Login("rotated", new)) as after,
    ):
        before.search()
        _write(store, new)
        began = time.perf_counter()
        while time.perf_counter() - began < GIVE_UP_SECONDS:
            # The new one only once the old one is refused: before, it is a guess, and those are
            # limited.
            if before.status("GET", SHUT) in REFUSED and after.status("GET", SHUT) == LET_IN:
                return time.perf_counter() - began
    raise TimeoutError("the new password never worked")


def _write(store: DirectoryStore, password: str) -> None:
    def with_new(document: Users | None) -> dict[str, object]:
        users = document.users if document else {}
        now = datetime.now(UTC)
        user = User(hash=hash_password(password), created=now, rotated=now)
        return {"users": {**users, "rotated": user}}

    change(store, Users, "rotate 'rotated'", with_new)


def _wait_until_idle(store: DirectoryStore) -> None:
    """Wait until the agent has ended its round for the newest users."""
    key = observed_key(MACHINE)
    while True:
        users, (report, tag) = read(store, Users)[0], read(store, Observed, key)
        if users and report and report.healthy and report.applied.users == users.generation:
            return
        store.wait_for_change({key: tag}, GIVE_UP_SECONDS)


@contextmanager
def _bystanders(server: Server) -> Iterator[list[str]]:
    """Others who log metrics all the time; gives what failed for them."""
    stop = threading.Event()
    failed: list[str] = []

    def work(client: Client) -> None:
        run = client.new_run()
        while not stop.is_set():
            try:
                client.log_metric(run, 0)
            except (OSError, ValueError, http.client.HTTPException) as error:
                failed.append(str(error))

    with ExitStack() as stack:
        clients = [stack.enter_context(server.client()) for _ in range(BYSTANDERS)]
        threads = [threading.Thread(target=work, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        try:
            yield failed
        finally:
            stop.set()
            for thread in threads:
                thread.join()
