"""Makes what unit tests work on."""

import getpass
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trackstack import spec
from trackstack.agent.round import Round
from trackstack.control.directory import DirectoryStore
from trackstack.credentials import hash_password
from trackstack.desired import Change, Cleanup, Release, User, Users
from trackstack.environment import Environment
from trackstack.operations.deploy import _write_desired
from trackstack.operations.plan import intend
from trackstack.outputs import Outputs
from trackstack.plan import Plan, make_plan
from trackstack.release import render_release

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
HASH = hash_password("a password of nobody")
LOCK = (
    f"mlflow==3.17.2 \\\n    --hash=sha256:{'1' * 64}\n"
    f"numpy==2.4.6 \\\n    --hash=sha256:{'2' * 64}\n"
)
OTHER_LOCK = LOCK.replace("2.4.6", "2.5.0").replace("2" * 64, "3" * 64)
OUTPUTS = Outputs(url="http://127.0.0.1:8080", machine="local")


@dataclass(frozen=True)
class Called:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


def content(**server: object) -> spec.Asked:
    """A spec with all that has no default; arguments replace values of its server."""
    return {
        "target": "local",
        "environment": "local",
        "server": {"port": 8080, "workers": 2, "mlflow": "3.17.2", **server},
        "users": ["ada"],
        "protected": False,
    }


def plan(packages: str = LOCK, **server: object) -> Plan:
    return make_plan(spec.validate(content(**server), "The test"), packages)


def change_of(what: str = "a test", at: datetime = NOON) -> Change:
    return Change(at=at, who="ada", where="laptop", what=what)


def user(expires: datetime | None = None, hashed: str = HASH) -> User:
    return User(hash=hashed, created=NOON, rotated=NOON, expires=expires)


def users_document(generation: int = 1, **people: User) -> Users:
    return Users(generation=generation, change=change_of(), users=people)


def release(of: Plan | None = None, generation: int = 1) -> Release:
    rendered = render_release(of or plan(), OUTPUTS)
    return Release.model_validate({**rendered, "generation": generation, "change": change_of()})


def cleanup(generation: int = 1) -> Cleanup:
    return Cleanup(
        generation=generation,
        change=change_of(),
        runs=("0" * 32,),
        models=("m-" + "0" * 32,),
        experiment="1",
    )


def deployed(name: str, *people: str, **server: object) -> Environment:
    """An environment as `deploy local` writes it, without its machine."""
    made = Environment(name)
    asked: dict[str, Any] = {"users": list(people or (getpass.getuser(),))}
    intent = intend(made, "local", asked | ({"server": server} if server else {}))
    _write_desired(made, intent)
    return made


@dataclass
class FakeMachine:
    """A service manager that only notes what it is told."""

    told: list[str] = field(default_factory=list)
    up: set[str] = field(default_factory=set)
    on_stop: Callable[[str], None] = lambda _: None
    on_finish: Callable[[str, str], None] = lambda *_: None

    def start(self, service: str) -> None:
        self.told.append(f"start {service}")
        self.up.add(service)

    def stop(self, service: str) -> None:
        self.on_stop(service)
        self.told.append(f"stop {service}")
        self.up.discard(service)

    def finish(self, service: str, problem: str) -> None:
        self.told.append(f"finish {service}")
        self.on_finish(service, problem)

    def reload(self, service: str) -> None:
        self.told.append(f"reload {service}")

    def running(self, service: str) -> bool:
        return service in self.up

    def pid(self, _: str) -> int | None:
        """None: nothing runs."""
        return None


def a_round(**documents: Any) -> Round:
    """A round at noon on a fake machine; arguments replace any part of it."""
    given = {
        "machine": FakeMachine(),
        "store": DirectoryStore(Path("../control")),
        "now": NOON,
        "users": None,
        "release": None,
        "cleanup": None,
    }
    return Round(**{**given, **documents})
