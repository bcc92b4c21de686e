"""The engine room: runs the Pulumi programs in this process, on the real engine.

Nothing else imports pulumi.automation, and nothing here prints: progress goes to the caller as
events, failures as the kit's own errors.
"""

import importlib
import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from secrets import token_hex
from typing import Any, TypeVar

from pulumi import automation as auto
from pulumi.automation.errors import CommandError, StackNotFoundError
from pydantic import SecretStr
from semver import VersionInfo

from trackstack import bundle
from trackstack.cloud_plan import KIT, Cloud, Part
from trackstack.targets import engine_failures
from trackstack.targets.account import Unfinished
from trackstack.targets.base import Result, Tell
from trackstack.targets.engine_events import Listener

OLDEST = "3.250.0"
"""The engine that the tests run on."""

_DATABASES = {"aws:rds/instance:Instance", "gcp:sql/databaseInstance:DatabaseInstance"}

_INSTALLED = "pulumi"
"""The folder of an engine that the kit installed, in a room's home."""

_ON_PATH = "pulumi"

_R = TypeVar("_R")


class Room(Part):
    """Where the engine works for one environment.

    Attributes:
        stack: the stack's name.
        state: the address of the backend, such as 's3://bucket' or 'file:///folder'.
        home: a folder for the engine's own files; it may be emptied at any time.
        key: what opens the secrets in the state.
        program: the pulumi program, or None for the one on PATH.
        variables: more for the engine's environment, such as credentials.
    """

    stack: str
    state: str
    home: Path
    key: SecretStr
    program: Path | None = None
    variables: Mapping[str, str] = {}


Find = Callable[[Unfinished], str | None]


def check(home: Path) -> None:
    """See that there is an engine that will do.

    Args:
        home: as a room's; one may have been installed there.

    Raises:
        MissingError: there is none, or it is too old.
    """
    _version(str(_installed(home) or _ON_PATH))


def install(home: Path) -> None:
    """Download the engine that the tests run on into a folder of the kit's own.

    Raises:
        MissingError: it cannot be downloaded.
    """
    try:
        auto.PulumiCommand.install(root=str(home / _INSTALLED), version=VersionInfo.parse(OLDEST))
    except Exception as error:  # the SDK runs a script of Pulumi's, and lets anything through
        raise engine_failures.not_installed(OLDEST) from error


@contextmanager
def empty_room(stack: str, home: Path, variables: Mapping[str, str]) -> Iterator[Room]:
    """A room in which nothing is recorded, for a look ahead; gone afterwards.

    Args:
        stack: the stack's name.
        home: as a room's; an engine that was installed there is used.
        variables: as a room's.
    """
    with tempfile.TemporaryDirectory(prefix="trackstack-") as folder:
        state = Path(folder) / "state"
        state.mkdir()
        yield Room(
            stack=stack,
            state=f"file://{state}",
            home=Path(folder),
            key=SecretStr(token_hex(16)),
            program=_installed(home),
            variables=variables,
        )


def preview(room: Room, plan: Cloud, tell: Tell | None = None, refresh: bool = False) -> Result:
    """What making the plan true would change; with `refresh`, after a look at the cloud."""
    heard = Listener(tell, planning=True)
    _told(
        room, lambda: open_stack(room, plan).preview(on_event=heard, refresh=refresh or None), heard
    )
    return Result(events=heard.events)


def up(
    room: Room,
    plan: Cloud,
    tell: Tell | None = None,
    *,
    refresh: bool = False,
    secrets: Mapping[str, SecretStr] | None = None,
    only: Sequence[str] | None = None,
) -> Result:
    """Make the plan true; with `refresh`, what somebody changed or removed by hand is healed.

    Args:
        room: whose state.
        plan: what is to exist.
        tell: what is called with each event.
        refresh: look at the cloud first.
        secrets: what the program needs and the plan does not hold.
        only: the URNs of the only resources to touch; all when None.

    Raises:
        ResourceError: the cloud refused something; what was made is recorded.
        HeldError: another run is at work.
        CancelledError: Ctrl-C; what was begun was finished and is recorded.
    """
    heard = Listener(tell)
    done = _told(
        room,
        lambda: open_stack(room, plan, secrets).up(
            on_event=heard,
            show_secrets=False,
            refresh=refresh or None,
            target=list(only) if only else None,
        ),
        heard,
    )
    return Result(events=heard.events, outputs=_plain(done.outputs))


def refresh(room: Room, tell: Tell | None = None) -> Result:
    """Record what is in the cloud now; what is gone there is told as 'remove'."""
    heard = Listener(tell)
    _told(room, lambda: open_stack(room).refresh(on_event=heard, show_secrets=False), heard)
    return Result(events=heard.events)


def destroy(room: Room, tell: Tell | None = None) -> Result:
    """Remove all but what is protected; that stays, in the cloud and on record."""
    heard = Listener(tell)
    _told(
        room,
        lambda: open_stack(room).destroy(
            on_event=heard, show_secrets=False, exclude_protected=True
        ),
        heard,
    )
    return Result(events=heard.events)


def outputs(room: Room) -> dict[str, Any]:
    """What the program exported at the last run, without secrets."""
    return _plain(_told(room, lambda: open_stack(room).outputs()))


def databases(room: Room) -> list[str]:
    """The URNs of the managed databases on record."""
    state = _told(room, lambda: open_stack(room).export_stack()).deployment or {}
    return [
        each["urn"]
        for each in state.get("resources") or []
        if each["type"] in _DATABASES and not each.get("delete")
    ]


def unprotect(room: Room) -> None:
    """Have the record protect nothing any more, so that `destroy` removes all."""
    stack = _told(room, lambda: open_stack(room))
    whole = _told(room, stack.export_stack)
    state = dict(whole.deployment or {})
    resources = state.get("resources") or []
    if any(each.get("protect") for each in resources):
        state["resources"] = [{**each, "protect": False} for each in resources]
        free = auto.Deployment(version=whole.version, deployment=state)
        _told(room, lambda: stack.import_stack(free))


def unlock(room: Room) -> None:
    """Free the lock of a run that is gone."""
    _told(room, lambda: open_stack(room).cancel())


def unfinished(room: Room, plan: Cloud | None = None, made: bool = False) -> list[Unfinished]:
    """What a killed run left in the middle.

    Args:
        room: whose state.
        plan: what is to be made next: its program's imports take as long as this look at the
            state does, and are done beside it.
        made: whether the environment was made, so that there must be something in its state.

    Raises:
        TrackstackError: the state is damaged, empty, or another environment's: with it a run
            would make everything twice, or remove the other's.
    """

    def state() -> Mapping[str, Any]:
        try:
            return _workspace(room).export_stack(room.stack).deployment or {}
        except StackNotFoundError:
            return {}

    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(program_of, plan)
        found = _told(room, state)
        loading.result()
    urns = [each["urn"] for each in found.get("resources") or []]
    foreign = [urn for urn in urns if not urn.startswith(f"urn:pulumi:{room.stack}::{KIT}::")]
    if foreign:
        raise engine_failures.foreign(room.stack, foreign[0].split("::")[0].rpartition(":")[2])
    if made and not urns:
        raise engine_failures.emptied(room.stack)
    return _unfinished(found)


def _unfinished(state: Mapping[str, Any]) -> list[Unfinished]:
    return [
        Unfinished(
            urn=operation["resource"]["urn"],
            resource=operation["resource"]["urn"].split("::")[-1],
            type=operation["resource"]["type"],
            what=operation["type"],
            inputs=operation["resource"].get("inputs", {}),
        )
        for operation in state.get("pending_operations") or []
    ]


def mend(room: Room, find: Find, tell: Tell | None = None) -> Result:
    """Bring the record in line with the cloud after a killed run, so that nothing comes twice.

    Args:
        room: whose lock is free.
        find: the id of a resource that was being made, or None when the cloud has none.
        tell: what is called with each event.
    """
    stack = _told(room, lambda: open_stack(room))
    whole = _told(room, stack.export_stack)
    state = dict(whole.deployment or {})
    ids = {left.urn: find(left) for left in _unfinished(state) if left.what == "creating"}
    lost = state.pop("pending_operations", None) or []
    # Without outputs: the engine then reads them from the cloud as if it were imported.
    found = [
        {**operation["resource"], "id": ids[operation["resource"]["urn"]]}
        for operation in lost
        if ids.get(operation["resource"]["urn"])
    ]
    state["resources"] = [*(state.get("resources") or []), *found]
    mended = auto.Deployment(version=whole.version, deployment=state)
    _told(room, lambda: stack.import_stack(mended))
    return refresh(room, tell)


def open_stack(
    room: Room, plan: Cloud | None = None, secrets: Mapping[str, SecretStr] | None = None
) -> auto.Stack:
    """The environment's stack; made when there is none."""
    return auto.Stack.create_or_select(room.stack, _workspace(room, plan, secrets))


def _workspace(
    room: Room, plan: Cloud | None = None, secrets: Mapping[str, SecretStr] | None = None
) -> auto.LocalWorkspace:
    work = room.home / "work" / room.stack
    work.mkdir(parents=True, exist_ok=True, mode=0o700)
    return auto.LocalWorkspace(
        work_dir=str(work),
        pulumi_home=str(room.home / "engine"),
        program=program_of(plan, secrets),
        pulumi_command=_Command(room),
        env_vars={
            **room.variables,
            "PULUMI_CONFIG_PASSPHRASE": room.key.get_secret_value(),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        },
        project_settings=auto.ProjectSettings(
            name=KIT, runtime="python", backend=auto.ProjectBackend(_backend(room.state))
        ),
    )


def _backend(state: str) -> str:
    """A folder without the engine's side files, which a kill leaves empty and the state unread."""
    return f"{state}?metadata=skip" if state.startswith("file://") and "?" not in state else state


class _Command(auto.PulumiCommand):
    """The pulumi program at a path of the caller's; the SDK wants a folder with bin/ in it."""

    def __init__(self, room: Room) -> None:
        self.command = str(room.program or _installed(room.home) or _ON_PATH)
        self.version = _version(self.command)


def _installed(home: Path) -> Path | None:
    """The one that the kit installed."""
    program = home / _INSTALLED / "bin" / "pulumi"
    return program if program.is_file() else None


@cache
def _version(program: str) -> VersionInfo:
    """The version of a pulumi program, when it is one that will do."""
    try:
        said = subprocess.run([program, "version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise engine_failures.missing() from error
    found = said.stdout.strip().removeprefix("v")
    try:
        version = VersionInfo.parse(found)
    except ValueError as error:
        raise engine_failures.too_old(found or "unknown", OLDEST) from error
    if version < VersionInfo.parse(OLDEST):
        raise engine_failures.too_old(found, OLDEST)
    return version


def program_of(
    plan: Cloud | None, secrets: Mapping[str, SecretStr] | None = None
) -> Callable[[], None]:
    """The program in stacks/, or nothing at all where only the record is worked on."""
    if plan is None:
        return lambda: None
    if "stacks" not in sys.modules:
        folder = bundle.stacks()
        spec = importlib.util.spec_from_file_location(
            "stacks", folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        if spec is None or spec.loader is None:
            raise FileNotFoundError(folder)
        module = importlib.util.module_from_spec(spec)
        sys.modules["stacks"] = module
        spec.loader.exec_module(module)
    declare = importlib.import_module(f"stacks.{plan.cloud}").declare
    plain = {name: secret.get_secret_value() for name, secret in (secrets or {}).items()}
    return lambda: declare(plan, plain)


def _plain(values: Mapping[str, auto.OutputValue]) -> dict[str, Any]:
    return {name: output.value for name, output in values.items() if not output.secret}


def _told(room: Room, action: Callable[[], _R], heard: Listener | None = None) -> _R:
    """Do something with the engine; what goes wrong is raised as the kit's own error.

    In a thread, so that Ctrl-C leaves this process alive until the engine, which got it too, has
    finished what it was doing: the program that it asks for each resource runs here.
    """
    stopped = False
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(action)
        while True:
            try:
                result = future.result()
            except KeyboardInterrupt:
                stopped = True
            except CommandError as error:
                failed = heard.failed if heard else []
                raise engine_failures.translated(
                    str(error), room.stack, failed, cancelled=stopped
                ) from error
            else:
                if stopped:
                    raise engine_failures.stopped()
                return result
