"""What the tests of control stores work on."""

import gc
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from secrets import token_hex

import pytest

from fronts import Answer, Next, Request, Rule
from trackstack.control.base import ControlStore
from trackstack.control.bucket import BucketStore
from trackstack.control.opening import open_store

QUIET = [
    # Google's client says so of a part that only its other protocol needs.
    pytest.mark.filterwarnings("ignore:Please install grpcio-status:ImportWarning"),
    # It leaves the connections of refused downloads to the garbage, whenever that is collected.
    pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning"),
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <socket.socket fd=[0-9]+, family=2:"
        "pytest.PytestUnraisableExceptionWarning"
    ),
]
"""For every test of a module that opens stores."""
KINDS = ("folder", "s3", "gcs")
OWNER = "123456789012"


@dataclass
class Bucket:
    """A double's bucket behind its front.

    Attributes:
        variables: how a cloud's own client finds it, and who is asking.
        recorded: what was asked and answered since the test began.
        troubles: rules that hold for now, asked before all others.
    """

    url: str
    variables: dict[str, str]
    recorded: list[tuple[Request, Answer]] = field(default_factory=list)
    troubles: list[Rule] = field(default_factory=list)
    asked: threading.Event = field(default_factory=threading.Event)

    def at(self, url: str, **variables: str) -> "Bucket":
        """Known to be at an address now."""
        self.url = url
        self.variables.update(variables)
        return self

    def forget(self) -> None:
        """Begin a test."""
        self.recorded.clear()
        self.troubles.clear()
        self.asked.clear()

    def trouble(self, request: Request, pass_on: Next) -> Answer:
        """The rule that asks the troubles."""
        answer = self.troubles[-1](request, pass_on) if self.troubles else pass_on(request)
        self.asked.set()
        return answer

    @contextmanager
    def troubled(self, rule: Rule) -> Iterator[None]:
        """Meanwhile a rule holds."""
        self.troubles.append(rule)
        try:
            yield
        finally:
            self.troubles.remove(rule)

    def statuses(self, method: str, about: str = "") -> list[int]:
        """What requests were answered with whose address has a word in it."""
        found = [(each, answer) for each, answer in self.recorded if each.method == method]
        return [answer.status for each, answer in found if about in each.target]


@dataclass(frozen=True)
class Opened:
    """A kind of store, to be opened as often as a test wants."""

    kind: str
    address: str
    bucket: Bucket
    prefix: str = field(default_factory=lambda: f"t{token_hex(4)}")
    stores: list[ControlStore] = field(default_factory=list)

    def __call__(self) -> ControlStore:
        """One that has seen nothing."""
        self.stores.append(open_store(self.address))
        return self.stores[-1]

    def at(self, address: str) -> "Opened":
        """The same at another address, which ends with this."""
        return replace(self, address=address)

    def close(self) -> None:
        """Give back the connections of a cloud's own client, which does so only when told."""
        for store in self.stores:
            if isinstance(store, BucketStore):
                store._client.close()  # type: ignore[attr-defined]
        self.stores.clear()
        # Google's leaves those of refused downloads to the garbage.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()

    def key(self, name: str) -> str:
        """A key of this test's own, below desired/."""
        return f"desired/{self.prefix}/{name}"
