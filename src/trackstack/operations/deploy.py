"""Makes an environment exist as asked, waits for it, and checks it from outside."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from trackstack import spec
from trackstack.control.base import change, read
from trackstack.desired import Applied, Release, StepReport, Users
from trackstack.environment import Environment, Record
from trackstack.operations import users
from trackstack.operations.destroy import Stock, take_stock
from trackstack.operations.plan import Intent, intend, nobody_named
from trackstack.operations.receipt import Check, Receipt
from trackstack.operations.users import Login
from trackstack.operations.verify import verify
from trackstack.operations.waiting import report_tag, wait_until_applied
from trackstack.plan import Difference
from trackstack.release import mlflow_settings, render_release, same_server
from trackstack.targets.base import Event, Result, Tell, What, Workspace


@dataclass(frozen=True)
class Watcher:
    """Told what a deploy does while it works.

    Attributes:
        on_intent: before anything is changed, with what a cloud's engine would do; whatever it
            raises ends the deploy.
        on_logins: people with their new passwords, as soon as those are written: a deploy that
            fails afterwards has let them in.
    """

    on_intent: Callable[[Intent, Result | None], None] = lambda _intent, _forecast: None
    on_event: Tell = lambda _: None
    on_logins: Callable[[list[Login]], None] = lambda _: None
    on_steps: Callable[[tuple[StepReport, ...]], None] = lambda _: None
    on_check: Callable[[Check], None] = lambda _: None


@dataclass(frozen=True)
class Deployed:
    """A server that runs and was checked.

    Attributes:
        changes: what was made or changed; empty when nothing was.
        started: whether its machine had to be started.
        logins: people let in by this deploy, with their new passwords.
        owner: the user whose password this computer keeps.
        at_login: what to know of its start at login, when that is new.
        workspace: where people work beside the server, when there is such a place.
        taken_up: what was found of an environment that had been removed with its data kept.
        receipt: what the check saw.
    """

    environment: str
    url: str
    changes: list[Difference]
    started: bool
    logins: list[Login]
    owner: str | None
    at_login: str | None
    workspace: Workspace | None
    taken_up: Stock | None
    receipt: Receipt


_SILENT = Watcher()

MACHINE = "machine"
"""The programs' name for the machine."""
_LEAVES_IT_RUNNING: set[What] = {"same", "look"}


def deploy(
    environment: Environment,
    target: str,
    flags: spec.Asked,
    file: Path | None = None,
    watcher: Watcher = _SILENT,
    *,
    own_network: Callable[[], str] = nobody_named,
    refresh: bool = False,
) -> Deployed:
    """Make the environment what flags, file and record say.

    Safe to interrupt at any moment and to run again.

    Args:
        environment: which may not exist yet.
        target: such as 'local'.
        flags: what was asked on the command line, nested as in a spec.
        file: a spec file.
        watcher: told what goes on.
        own_network: who may connect to a cloud's machine when nobody was named, ever.
        refresh: look at the cloud first, and heal what was changed there by hand.

    Raises:
        UsageError: something asked for makes no sense; nothing was changed.
        MissingError: this computer lacks something; nothing was changed.
        BusyError: another command is changing this environment.
        NotProvenError: a step on the machine failed, or a check did not hold.
    """
    with environment.held("changing", f"trackstack deploy {target}"):
        intent = intend(environment, target, flags, file, own_network)
        before = intent.record
        environment.target.check(intent.plan, before.plan if before else None)
        _try_stores(environment, intent)
        at_login_wanted = getattr(intent.effective, "at_login", False)
        if at_login_wanted:
            environment.target.check_at_login()
        watcher.on_intent(intent, _forecast(environment, intent, refresh))
        heard = _heard_before(environment, before)
        touched: set[str] = set()

        def tell(event: Event) -> None:
            if event.what not in _LEAVES_IT_RUNNING:
                touched.add(event.resource)
            watcher.on_event(event)

        logins = _write_desired(environment, intent, tell, refresh)
        watcher.on_logins(logins)
        outdated = report_tag(environment)
        started = not environment.target.running()
        came_back = before is not None and before.removed is not None
        changed = bool(intent.changes or touched) or started or came_back
        changed = changed or before is None or not before.settled
        if changed:
            _note(environment, settled=False)
        at_login = environment.target.start_at_login(at_login_wanted)
        environment.target.start()
        if MACHINE in touched:
            # What it said before it was stopped says nothing about what it is now.
            outdated, started = heard, True
        _wait(environment, outdated if started else None, watcher if changed else _SILENT)
        environment.target.start_rest()
        receipt = verify(environment, quick=not changed, on_check=watcher.on_check)
        if changed:
            _note(environment, settled=True)
        return Deployed(
            environment=environment.name,
            url=environment.url,
            changes=intent.changes,
            started=started,
            logins=logins,
            owner=environment.owner(),
            at_login=at_login,
            workspace=environment.target.workspace(intent.plan),
            taken_up=take_stock(environment) if came_back else None,
            receipt=receipt,
        )


def _heard_before(environment: Environment, before: Record | None) -> str | None:
    """The tag of the machine's last report, where there has been a machine."""
    if before is None or before.outputs is None or before.removed:
        return None
    return report_tag(environment)


def _try_stores(environment: Environment, intent: Intent) -> None:
    """Open an outer database or bucket that is new, or has new credentials."""
    used = intent.record.plan.mlflow if intent.record and intent.record.settled else None
    drivers = intent.drivers
    # A cloud's machine alone reaches its stores.
    if (
        environment.kind == "local"
        and drivers
        and (used is None or used.stores != intent.plan.mlflow.stores)
    ):
        content = render_release(intent.plan, environment.target.outputs(intent.plan))
        given = mlflow_settings(content) | intent.store_credentials
        environment.target.try_stores(given, drivers, intent.plan.packages)


def _forecast(environment: Environment, intent: Intent, refresh: bool) -> Result | None:
    """What a cloud's engine would do; not asked when nothing differs from what is settled."""
    before = intent.record
    if before is not None and _same(before, intent) and not refresh:
        return None
    return environment.target.forecast(intent.plan, refresh)


def _write_desired(
    environment: Environment, intent: Intent, tell: Tell = lambda _: None, refresh: bool = False
) -> list[Login]:
    before, target = intent.record, environment.target
    same = before is not None and _same(before, intent)
    record = Record(
        asked=intent.asked,
        spec=intent.effective,
        plan=intent.plan,
        outputs=before.outputs if before else None,
        temporary=before.temporary if before else {},
        created=before.created if before else datetime.now(UTC),
        let_in=before.let_in if before else (),
    )
    if not same:
        environment.write_record(record)
    outputs = target.make(intent.plan, tell, refresh)
    release, _ = read(target.store, Release)
    if environment.place is not None and outputs != record.outputs:
        record, same = record.model_copy(update={"outputs": outputs}), False
        environment.write_record(record)
    users.let_clients_in(environment)
    if same and release is not None:
        return []
    target.renew_agent()
    new = [name for name in intent.effective.users if name not in record.let_in]
    logins = users.add_missing(environment, new)
    if not same or release is None or before is None or not before.settled:
        content = render_release(intent.plan, outputs)
        target.keep_store_credentials(intent.store_credentials)
        if release is None or not same_server(release, content):
            what = ", ".join(each.key for each in intent.plan_changes) or "the recorded plan again"
            change(target.store, Release, what, lambda _: content)
    environment.write_record(record.model_copy(update={"let_in": (*record.let_in, *new)}))
    return logins


def _note(environment: Environment, settled: bool) -> None:
    record = environment.existing_record()
    if record.settled != settled:
        environment.write_record(record.model_copy(update={"settled": settled}))


def _same(before: Record, intent: Intent) -> bool:
    asked_the_same = before.asked == intent.asked and before.spec == intent.effective
    return before.settled and not before.removed and asked_the_same and not intent.changes


def _wait(environment: Environment, outdated: str | None, watcher: Watcher) -> None:
    store = environment.target.store
    release, people = read(store, Release)[0], read(store, Users)[0]
    wanted = Applied(
        release=release.generation if release else 0, users=people.generation if people else 0
    )
    wait_until_applied(environment, wanted, outdated=outdated, on_steps=watcher.on_steps)
