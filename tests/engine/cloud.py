"""A cloud in memory: what exists in it, what was asked of it, and what goes wrong in it."""

import itertools
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

Action = Literal["create", "update", "delete", "read"]


class Refused(Exception):  # noqa: N818  what the cloud answers, not a fault of the double
    """The cloud says no, in one sentence."""


class Lost(Exception):  # noqa: N818
    """The cloud did it, and its answer never came."""


@dataclass
class Thing:
    """One resource.

    Attributes:
        kind: such as 'ec2.Vpc'.
        inputs: as asked last.
        computed: what only the cloud knows.
    """

    kind: str
    id: str
    inputs: dict[str, Any]
    computed: dict[str, Any] = field(default_factory=dict)


@dataclass
class Trouble:
    """Something that goes wrong, a number of times.

    Attributes:
        before: called before the action is done; it may raise Refused, wait, or end a process.
        after: called when it is done, before the answer; it may raise Lost.
    """

    action: Action
    kind: str
    before: Callable[[], None] | None = None
    after: Callable[[], None] | None = None
    times: int = 1


class Cloud:
    """One account's region.

    Attributes:
        package: whose cloud it is, 'aws' or 'gcp'.
        account: AWS's 12 digits, or Google's project.
        objects: how many objects are in each bucket, versions counted.
        calls: every create, update and delete that was asked, in order, as (action, kind).
        listeners: told of each thing that was created or updated, before the answer, and of each
            that is about to be deleted. They may fill in what only the cloud knows, and refuse.
    """

    def __init__(self, account: str, region: str, package: str = "aws") -> None:
        self.package = package
        self.account = account
        self.region = region
        self.things: dict[tuple[str, str], Thing] = {}
        self.images: dict[str, str] = {}
        self.objects: dict[str, int] = {}
        self.snapshots: set[str] = set()
        self.calls: list[tuple[Action, str]] = []
        self.listeners: list[Callable[[Action, Thing], None]] = []
        self.lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._troubles: list[Trouble] = []
        self._lines: set[str] = set()
        self._dead: set[str] = set()

    def number(self) -> int:
        """A number that was never given before."""
        return next(self._numbers)

    def new_id(self, prefix: str) -> str:
        return f"{prefix}-{uuid.uuid4().hex[:17]}"

    def plant(self, kind: str, id_: str, **inputs: Any) -> Thing:
        """Put something there that nobody's program made."""
        with self.lock:
            thing = self.things[kind, id_] = Thing(kind, id_, inputs)
        return thing

    def all(self) -> list[Thing]:
        """All that is there now, while others may go on with the cloud."""
        return list(self.things.values())

    def of(self, kind: str) -> list[Thing]:
        return [thing for thing in self.all() if thing.kind == kind]

    def one(self, kind: str, name: str = "") -> Thing:
        """The only thing of a kind, or the only one whose name ends so."""
        found = [t for t in self.of(kind) if name in t.inputs.get("tags", {}).get("Name", name)]
        assert len(found) == 1, f"{len(found)} of {kind} {name!r} are there"
        return found[0]

    def kinds(self) -> list[str]:
        return sorted(thing.kind for thing in self.all())

    def tell(self, action: Action, thing: Thing) -> None:
        """Let the listeners know, while others may go on with the cloud."""
        for listener in self.listeners:
            listener(action, thing)

    def trouble(self, action: Action, kind: str, **how: Any) -> None:
        self._troubles.append(Trouble(action, kind, **how))

    def calm(self) -> None:
        """Let nothing go wrong any more."""
        with self.lock:
            self._troubles.clear()

    def connect(self, line: str) -> None:
        """Know a connection over which a run of the engine begins to speak.

        It is called by its port, which the system may have given to a run before, too.
        """
        with self.lock:
            self._lines.add(line)
            self._dead.discard(line)

    def hang_up(self) -> None:
        """Let nothing arrive any more of what runs sent that were killed.

        A request of a killed run may still lie in a queue here, and would be done after the next
        look at the cloud: nothing could tell then that it is to come.
        """
        with self.lock:
            self._dead |= self._lines

    def refuse(self, action: Action, kind: str, sentence: str, times: int = 1) -> None:
        """Let the cloud say no."""

        def no() -> None:
            raise Refused(sentence)

        self.trouble(action, kind, before=no, times=times)

    def lose_answer(self, action: Action, kind: str) -> None:
        """Let the cloud do it and its answer get lost."""

        def lost() -> None:
            raise Lost(f"{kind}: read: connection reset by peer")

        self.trouble(action, kind, after=lost)

    def next_trouble(self, action: Action, kind: str, line: str) -> Trouble | None:
        """What is to go wrong with a request.

        Raises:
            Lost: it came over a connection of a run that is dead.
        """
        with self.lock:
            if line in self._dead:
                raise Lost(f"{kind}: the request never arrived")
            for trouble in self._troubles:
                if trouble.action == action and trouble.kind in (kind, "*") and trouble.times:
                    trouble.times -= 1
                    return trouble
        return None

    def users_of(self, id_: str, places: Iterator[tuple[str, str]]) -> list[Thing]:
        """What names an id in one of the places, each a kind and a property."""
        found = []
        for kind, name in places:
            for thing in self.of(kind):
                value = thing.inputs.get(name)
                if isinstance(value, dict):
                    value = list(value.values())
                if value == id_ or (isinstance(value, list) and id_ in value):
                    found.append(thing)
        return found
