"""Clients that ask a served model all the time."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

ROWS = {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 0], [5, 1]]}}
"""A request's body; a model of modelling.py's kind 'linear' answers a multiple of 'a'."""


@contextmanager
def under_load(
    client: Callable[[], httpx.Client], name: str, clients: int
) -> Iterator[Counter[str]]:
    """Ask a model all the time; counts what was answered.

    Args:
        client: makes one that is logged in, with the server's address.
        name: what the model is served as.
        clients: how many at once.
    """
    seen: Counter[str] = Counter()
    over = threading.Event()

    def go() -> None:
        with client() as made:
            while not over.is_set():
                try:
                    answer = made.post(f"/serve/{name}/invocations", json=ROWS)
                    seen[f"{answer.status_code} {answer.text[:40]}"] += 1
                except httpx.HTTPError as error:
                    seen[f"no answer: {error!r}"] += 1

    threads = [threading.Thread(target=go) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join()
