"""A cloud as target: the engine makes machine and store, the account holds the truth."""

import importlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from trackstack import agent_archive
from trackstack.cloud_plan import KIT, Aws
from trackstack.cloud_plan import Cloud as CloudPlan
from trackstack.control.base import ConflictError, NoBucketError, Stored
from trackstack.control.bucket import BucketStore
from trackstack.errors import BusyError, MissingError, TrackstackError, UsageError
from trackstack.outputs import Outputs
from trackstack.place import Place
from trackstack.plan import Plan
from trackstack.targets import remote_logs
from trackstack.targets.account import Account, Say
from trackstack.targets.base import Kept, NoWorkspace, Result, Tell
from trackstack.targets.engine_failures import HeldError, ResourceError

_FIRST_BOOT_SECONDS = 900.0
"""Debian's and Python's packages over a slow network, and the data disk."""

_EMPTIED_AT_MOST = 3
_NOT_EMPTY = "BucketNotEmpty|not empty"
"""What the clouds say of a bucket in which something lies."""


class Cloud(NoWorkspace):
    """An environment in an account of a cloud.

    Attributes:
        where: what to call the place.
    """

    first_word_seconds = _FIRST_BOOT_SECONDS

    def __init__(self, name: str, place: Place, engine_home: Path) -> None:
        self._name = name
        self._place = place
        self._engine_home = engine_home
        self._record: bytes | None = None
        self._tag: str | None = None
        self._read = False
        self.where = f"in {place.told}"

    @cached_property
    def account(self) -> Account:
        """The account, let in with the person's credentials."""
        found: Account = account_module(self._place.target).account(self._place)
        return found

    @cached_property
    def store(self) -> BucketStore:
        """The control bucket; what is changed there is noted under the cloud's name for me."""
        found = self.account.control(self._name)
        found.who = self._place.who or None
        return found

    def read_record(self) -> bytes | None:
        """The record in the state bucket, read once; see Target."""
        if not self._read:
            stored = self._stored_record()
            self._record, self._tag = (stored.data, stored.tag) if stored else (None, None)
            self._read = True
        return self._record

    def write_record(self, record: bytes) -> None:
        """Keep the record in the state bucket; see Target."""
        self.read_record()
        self.account.ensure_state()
        try:
            self._tag = self.account.state().put(self._key, record, expect=self._tag)
        except ConflictError as error:
            raise BusyError(
                f"Somebody else has changed environment {self._name!r} since this command began.",
                f"Nothing was changed here. Look at it with `trackstack status -e {self._name}`, "
                "then run it again.",
            ) from error
        self._record = record

    def decided(self, content: dict[str, Any], recorded: Plan | None) -> dict[str, Any]:
        """Looked up in the account; see Target."""
        return self.account.decided(content, recorded)

    def check(self, plan: Plan, running: Plan | None) -> None:
        """Refuse what cannot be made here, before anything is touched; see Target."""
        _engine().check(self._engine_home)
        cloud = _cloud(plan)
        denied = self.account.denied(cloud) if running is None else []
        if denied:
            more = f" and {len(denied) - 5} more" if len(denied) > 5 else ""
            raise TrackstackError(
                f"{self._place.who} may not do all that is needed in {self._place.told}: "
                f"{', '.join(denied[:5])}{more}.",
                f"`trackstack plan {plan.target} -e {self._name} --admin-request FILE` writes what "
                "an administrator has to permit or make.",
            )
        problem = self.account.room_problem(cloud)
        if problem:
            raise UsageError(problem)

    def forecast(self, plan: Plan, refresh: bool = False) -> Result:
        """What the engine would do; see Target."""
        engine = _engine()
        if self.account.has_state() and self.account.key(self._name, make=False) is not None:
            engine.unfinished(self._room(), _cloud(plan), self._made())
            forecast: Result = engine.preview(self._room(), _cloud(plan), refresh=refresh)
            return forecast
        # Nothing is recorded, so an empty state says the same; and nothing is touched yet.
        variables = self.account.engine_variables()
        with engine.empty_room(self._name, self._engine_home, variables) as room:
            return engine.preview(room, _cloud(plan))  # type: ignore[no-any-return]

    def make(self, plan: Plan, tell: Tell, refresh: bool = False) -> Outputs:
        """Let the engine make it, and bring the agent into the control store; see Target."""
        engine = _engine()
        self.account.ensure_state()
        self.account.key(self._name, make=True)
        room, cloud = self._room(), _cloud(plan)
        if engine.unfinished(room, cloud, self._made()):
            engine.mend(room, self.account.find)
        done = engine.up(
            room, cloud, tell, refresh=refresh, secrets=self.account.program_secrets(cloud)
        )
        return _outputs(done.outputs, plan)

    def renew_agent(self) -> None:
        """Put the agent into the control store, where the machine takes it from; see Target."""
        agent_archive.publish(self.store, self._place.target)

    def outputs(self, _plan: Plan) -> Outputs:
        """Only making it tells; see Target."""
        raise TrackstackError(
            f"Environment {self._name!r} has not been made whole yet.",
            f"`trackstack deploy {self._place.target} -e {self._name}` goes on with it.",
        )

    def rendered(self, plan: Plan) -> dict[str, bytes]:
        """What stacks/ takes as the stack's configuration `trackstack:plan`; see Target."""
        return {"plan.json": plan.cloud.model_dump_json(indent=1).encode()} if plan.cloud else {}

    def taken_up(self, plan: Plan, recorded: Plan | None, removed: bool) -> Plan:
        """A database that was removed comes back from its last snapshot; see Target."""
        cloud, before = plan.cloud, recorded.cloud if recorded else None
        if not (isinstance(cloud, Aws) and isinstance(before, Aws)):
            return plan  # Google's database is kept whole
        if cloud.database is None or before.database is None:
            return plan
        snapshot = before.database.from_snapshot
        if removed:
            found = self.account.snapshots(self._name)
            snapshot = found[0].name if found else snapshot
        database = cloud.database.model_copy(update={"from_snapshot": snapshot})
        return plan.model_copy(update={"cloud": cloud.model_copy(update={"database": database})})

    def names(self) -> list[str]:
        """The account's; see CloudTarget."""
        return self.account.names()

    def engine_problem(self) -> MissingError | None:
        """There is none, or it is too old; see CloudTarget."""
        try:
            _engine().check(self._engine_home)
        except MissingError as error:
            return error
        return None

    def install_engine(self) -> None:
        """By Pulumi's own way; see CloudTarget."""
        _engine().install(self._engine_home)

    def lock(self) -> dict[str, Any] | None:
        """The engine's own file in the state bucket; see CloudTarget."""
        if not self.account.has_state():
            return None
        state = self.account.state()
        for key in state.list(f".pulumi/locks/organization/{KIT}/{self._name}/"):
            stored = state.get(key)
            if stored is not None:
                found: dict[str, Any] = json.loads(stored.data)
                return found
        return None

    def unlock(self) -> None:
        """By the engine itself; see CloudTarget."""
        _engine().unlock(self._room())

    def ring(self) -> None:
        """By the control bucket's bell; see CloudTarget."""
        self.store.ring()

    def policy(self, whose: str, plan: Plan) -> str:
        """In the cloud's own form; see CloudTarget."""
        return self.account.policy(whose, _cloud(plan))

    def admin_request(self, plan: Plan) -> str:
        """The cloud's own words; see CloudTarget."""
        return self.account.request(_cloud(plan))

    def check_removal(self) -> None:
        """By the engine's own lock and state; see CloudTarget."""
        held = self.lock()
        if held is not None:
            raise HeldError.by(
                self._name, held["username"], held["hostname"], held["pid"], held["timestamp"]
            )
        _engine().unfinished(self._room(), made=self._made())

    def remove(self, plan: Plan, purge: bool, tell: Tell, say: Say) -> None:
        """By the engine; see CloudTarget."""
        engine, room = _engine(), self._room()
        if engine.unfinished(room, made=self._made()):
            engine.mend(room, self.account.find)
        going = _cloud(plan).for_removal(datetime.now(UTC), purge)
        databases = engine.databases(room)
        if databases:
            # Its protection goes, and its last snapshot gets a name; nothing else is touched.
            secrets = self.account.program_secrets(going)
            engine.up(room, going, tell, secrets=secrets, only=databases)
        if purge:
            engine.unprotect(room)
        own = {going.control_bucket, going.artifact_bucket} - {going.given.artifact_bucket}
        for attempt in range(1, _EMPTIED_AT_MOST + 1):
            try:
                for bucket in sorted(own) if purge else ():
                    self.account.empty(bucket, say)
                engine.destroy(room, tell)
                break
            except ResourceError as error:
                # The machine reported once more while its buckets were being emptied.
                refilled = all(re.search(_NOT_EMPTY, each.reason) for each in error.failed)
                if not (purge and refilled) or attempt == _EMPTIED_AT_MOST:
                    raise
        if purge:
            self.account.forget(self._name)
            self._record, self._tag = None, None

    def left(self) -> list[Kept]:
        """By tags and labels; see CloudTarget."""
        return list(self.account.left(self._name))

    def console(self, machine: str) -> str:
        """The cloud's own copy; see CloudTarget."""
        return self.account.console(machine)

    def start(self) -> None:
        """The machine starts by itself when it is made; see Target."""

    def stop(self) -> None:
        """A cloud's machine is not stopped but removed; see Target."""

    def running(self) -> bool:
        """Whether there should be a machine: what it reports says more; see Target."""
        record = self.read_record()
        return record is not None and json.loads(record).get("removed") is None

    def logs(self, service: str, follow: bool) -> Iterator[str]:
        """A service's log through the control store; see Target."""
        yield from remote_logs.lines(self.store, service, follow)

    def walls(self) -> str:
        """Its units are on every machine; see Target."""
        return (
            "Each model runs within walls (a unit of systemd, as a user of its own): it sees its "
            "own files and packages, and of the machine the programs only; no network."
        )

    def requests(self) -> None:
        """nginx's log stays on the machine; see Target."""

    def stored_bytes(self) -> int:
        """The size of the artifacts; see Target."""
        record = self.read_record()
        plan = json.loads(record)["plan"] if record else None
        return self.account.stored_bytes(plan["cloud"]["artifact_bucket"]) if plan else 0

    def store_credentials(self) -> dict[str, str]:
        """The machine has an identity, and needs no credentials; see Target."""
        return {}

    def keep_store_credentials(self, variables: dict[str, str]) -> None:
        """There are none; see Target."""

    def try_stores(self, given: dict[str, str], drivers: list[str], packages: str) -> None:
        """Only the machine reaches them; see Target."""

    def check_at_login(self) -> None:
        """A machine starts with its cloud; see Target."""

    def start_at_login(self, _wanted: bool) -> str | None:
        """A machine starts with its cloud; see Target."""
        return None

    def starts_at_login(self) -> bool:
        """A machine starts with its cloud; see Target."""
        return False

    def leftovers(self) -> list[str]:
        """Processes are the machine's business; see Target."""
        return []

    def schema(self, _plan: Plan, _packages: str) -> Literal["fits", "older", "newer"] | None:
        """Not to be seen from here; see Target."""
        return None

    def room_problem(self) -> TrackstackError | None:
        """Not to be seen from here; see Target."""
        return None

    def purge(self) -> None:
        """All of it is gone by `remove`; see Target."""

    @property
    def _key(self) -> str:
        return f"environments/{self._name}/record.json"

    def _stored_record(self) -> Stored | None:
        try:
            return self.account.state().get(self._key)
        except NoBucketError:
            return None

    def _made(self) -> bool:
        """Whether it was made and not removed: then something is on the engine's record."""
        kept = self.read_record()
        record = json.loads(kept) if kept else {}
        return record.get("outputs") is not None and record.get("removed") is None

    def _room(self) -> Any:
        key = self.account.key(self._name, make=False)
        if key is None:
            raise TrackstackError(
                f"The key of environment {self._name!r} is not in {self._place.told}.",
                "Without it the engine's state of the environment cannot be read. Put it back "
                "from where your administrator keeps it.",
            )
        return _engine().Room(
            stack=self._name,
            state=self.account.backend(),
            home=self._engine_home,
            key=key,
            variables=self.account.engine_variables(),
        )


def account_module(target: str) -> ModuleType:
    """The module of a cloud's account, which imports that cloud's tools.

    Raises:
        MissingError: they are not installed.
    """
    try:
        return importlib.import_module(f"trackstack.targets.{target}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "trackstack":
            raise
        raise MissingError(
            f"The tools for {target} are not installed: there is no package {error.name}.",
            f"Install them beside the kit: `uv tool install 'trackstack[{target}]'`.",
        ) from error


def _engine() -> ModuleType:
    """The engine room; a command that does not need it does not wait for its import."""
    return importlib.import_module("trackstack.targets.engine")


def _cloud(plan: Plan) -> CloudPlan:
    if plan.cloud is None:
        raise TrackstackError(f"The plan of environment {plan.environment!r} is for no cloud.")
    return plan.cloud


def _outputs(told: dict[str, Any], plan: Plan) -> Outputs:
    return Outputs(
        url=f"https://{(*plan.nginx.names, told['address'])[0]}",
        machine=str(told["instance"]),
        address=told["address"],
        database_host=told.get("database_host"),
        database_secret=told.get("database_secret"),
    )
