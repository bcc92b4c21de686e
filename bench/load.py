"""How long a client waits, and log_metric by many at once."""

import http.client
import statistics
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from bench.client import Client


def p50(client: Client, seconds: float) -> float:
    """The median time of log_metric, in seconds, with one client that keeps its connection."""
    return median_time(partial(client.log_metric, client.new_run()), seconds)


def median_time(work: Callable[[int], object], seconds: float) -> float:
    """The median time of some work, in seconds; it is told how often it was done before."""
    times: list[float] = []
    until = time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        work(len(times))
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def throughput(connect: Callable[[], Client], clients: int, seconds: float) -> float:
    """How many times a second log_metric is done by so many clients at once."""
    runs: dict[Client, str] = {}

    def log(client: Client, number: int) -> None:
        if client not in runs:
            runs[client] = client.new_run()
        client.log_metric(runs[client], number)

    return at_once(connect, clients, seconds, log)


def at_once(
    connect: Callable[[], Client],
    clients: int,
    seconds: float,
    work: Callable[[Client, int], object],
) -> float:
    """How many times a second some work is done by so many clients at once.

    Args:
        connect: makes a client.
        clients: how many.
        seconds: how long.
        work: what each does again and again; it is told how often that was done before.
    """
    done = [0] * clients
    failures: list[Exception] = []
    stop = threading.Event()

    def go_on(index: int, client: Client) -> None:
        try:
            while not stop.is_set():
                work(client, done[index])
                done[index] += 1
        except (OSError, ValueError, http.client.HTTPException) as error:
            failures.append(error)

    with ExitStack() as stack:
        ready = [stack.enter_context(connect()) for _ in range(clients)]
        threads = [
            threading.Thread(target=go_on, args=(index, client))
            for index, client in enumerate(ready)
        ]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        stop.wait(seconds)
        stop.set()
        for thread in threads:
            thread.join()
        took = time.perf_counter() - began
    if failures:
        raise failures[0]
    return sum(done) / took
