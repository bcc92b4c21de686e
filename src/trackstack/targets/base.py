"""The contract of a target."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, Protocol

from trackstack.control.base import ControlStore
from trackstack.desired import Part
from trackstack.errors import MissingError, TrackstackError
from trackstack.outputs import Outputs
from trackstack.plan import Plan

What = Literal["same", "make", "change", "replace", "remove", "look"]


class Event(Part):
    """What the engine does with one resource, as it happens.

    Attributes:
        resource: the program's name for it, such as 'machine'.
        type: such as 'aws:ec2/instance:Instance'.
        because: the properties that change; never their values.
        seconds: since it started, when it is done.
        problem: the cloud's reason, when it failed.
    """

    resource: str
    type: str
    what: What
    state: Literal["planned", "started", "done", "failed"]
    because: tuple[str, ...] = ()
    seconds: float | None = None
    problem: str | None = None


Tell = Callable[[Event], None]


class Result(Part):
    """What a run of the engine did, or would do.

    Attributes:
        events: the last one of each resource, in the order of the first ones.
        outputs: what the program exported, without secrets.
    """

    events: tuple[Event, ...]
    outputs: Mapping[str, Any] = {}

    @property
    def changes(self) -> dict[What, list[str]]:
        """The names of the resources that do not stay as they are, by what happens to them.

        Empty when nothing changes.
        """
        told: tuple[What, ...] = ("make", "change", "replace", "remove")
        named = {what: sorted(e.resource for e in self.events if e.what == what) for what in told}
        return {what: names for what, names in named.items() if names}

    def event(self, type_: str, resource: str) -> Event | None:
        """What happened to one resource."""
        return next((e for e in self.events if (e.type, e.resource) == (type_, resource)), None)


class Kept(Part):
    """Something that a removal leaves, or that it could not remove.

    Attributes:
        name: the cloud's, such as a bucket's name or an ARN.
        why: why it is still there.
        how: how to remove it later, a command.
    """

    name: str
    why: str
    how: str | None = None


class Workspace(Part):
    """Where people work beside the tracking server.

    Attributes:
        url: of JupyterLab.
        token: what it asks for; secret.
    """

    url: str
    token: str


class Target(Protocol):
    """One environment's place: it makes a plan's machine and store exist, and takes them away.

    Attributes:
        first_word_seconds: how long a new machine may take until it reports.
        where: what to call the place, such as 'on this computer'.
        clients: users of the server that are no people but clients of the target's own.
    """

    first_word_seconds: float
    where: str
    clients: tuple[str, ...]

    @property
    def store(self) -> ControlStore:
        """The control store."""

    def read_record(self) -> bytes | None:
        """The environment's record as it is kept, or None."""

    def write_record(self, record: bytes) -> None:
        """Keep a record durably.

        Raises:
            BusyError: somebody else has changed it since it was read.
        """

    def decided(self, content: dict[str, Any], recorded: Plan | None) -> dict[str, Any]:
        """A spec's content with what is None looked up: once, since it is recorded from then on.

        Args:
            content: every key of a spec, as asked and decided.
            recorded: the plan so far, or None before the first deploy.
        """

    def forecast(self, plan: Plan, refresh: bool = False) -> Result | None:
        """What making the plan true would do in a cloud; None where there is none.

        Args:
            plan: what is to exist.
            refresh: look at the cloud first, so that what was changed by hand shows.
        """

    def make(self, plan: Plan, tell: Tell, refresh: bool = False) -> Outputs:
        """Make machine and store exist; safe to repeat after a kill at any moment.

        Args:
            plan: what is to exist.
            tell: told what happens to each resource.
            refresh: look at the cloud first, and heal what was changed by hand.
        """

    def taken_up(self, plan: Plan, recorded: Plan | None, removed: bool) -> Plan:
        """The plan, made from what a removal left.

        Args:
            plan: what is to exist.
            recorded: what was to exist before, or None.
            removed: whether it was removed since, with its data kept.
        """

    def renew_agent(self) -> None:
        """Have the machine run this kit's agent, where the agent travels to it."""

    def rendered(self, plan: Plan) -> dict[str, bytes]:
        """What a plan comes to besides the release, by its path: files without secrets."""

    def check(self, plan: Plan, running: Plan | None) -> None:
        """Refuse what cannot work here, before anything is changed.

        Args:
            plan: what is to be made.
            running: what runs now, or None.

        Raises:
            MissingError: a program, or room, is missing.
            TrackstackError: something stands in the way, such as a taken port.
        """

    def outputs(self, plan: Plan) -> Outputs:
        """Where the plan's server will be, where that is known before it is made.

        Raises:
            TrackstackError: only making it tells.
        """

    def store_credentials(self) -> dict[str, str]:
        """The variables that open the server's outer database or bucket, as kept; secret."""

    def keep_store_credentials(self, variables: dict[str, str]) -> None:
        """Keep them where only the server reads them."""

    def try_stores(self, given: dict[str, str], drivers: list[str], packages: str) -> None:
        """Open the outer stores as the server will, before anything is changed.

        Args:
            given: MLflow's environment variables, with the credentials; secret.
            drivers: packages of the lock that open them.
            packages: the server's lock.

        Raises:
            TrackstackError: one does not open.
        """

    def start(self) -> None:
        """Have the machine and its agent run; returns once they do."""

    def start_rest(self) -> None:
        """Have run what needs the server; called when that serves."""

    def workspace(self, plan: Plan) -> Workspace | None:
        """Where people work beside the server; None where there is no such place."""

    def run_example(self) -> str:
        """Run the workspace's example notebook.

        Returns:
            What run_notebook.py of its image prints.
        """

    def client_password(self, user: str) -> str | None:
        """The password that a client of the target's own has, or None before it has one."""

    def keep_client(self, user: str, password: str) -> None:
        """Give a client of the target's own its password."""

    def stop(self) -> None:
        """End every process of the machine; its data stays."""

    def kept_apart(self) -> tuple[Kept, ...]:
        """What keeps data of it outside its folder on this computer, after it was stopped."""

    def running(self) -> bool:
        """Whether the machine runs."""

    def check_at_login(self) -> None:
        """Refuse what cannot be started at login, before anything is changed.

        Raises:
            UsageError: something of another environment is in the way.
        """

    def start_at_login(self, wanted: bool) -> str | None:
        """Have the machine started at login from now on, or no longer.

        Returns:
            What a person should know, or None when it was so before.
        """

    def starts_at_login(self) -> bool:
        """Whether the machine is started at login."""

    def leftovers(self) -> list[str]:
        """Processes that run on although the machine does not: name and number of each."""

    def schema(self, plan: Plan, packages: str) -> Literal["fits", "older", "newer"] | None:
        """How the database's tables fit the MLflow that is installed; nothing is started.

        Args:
            plan: what runs, or is to run.
            packages: the id of the release's packages.

        Returns:
            None where it cannot be seen from here.
        """

    def purge(self) -> None:
        """Remove everything, data too."""

    def stored_bytes(self) -> int | None:
        """How much the server stores: database and artifacts; in a cloud, artifacts alone.

        None where it cannot be told without a change, as of a workspace whose images are gone.
        In a cloud it takes a request for each thousand of them.
        """

    def room_problem(self) -> TrackstackError | None:
        """What is wrong with the room left for what the server stores, or None."""

    def requests(self) -> Iterator[str] | None:
        """nginx's log as far back as it goes, the oldest line first; None where it is not here."""

    def walls(self) -> str:
        """What the code of a served model can reach there, in a sentence or two."""

    def logs(self, service: str, follow: bool) -> Iterator[str]:
        """A service's log, line by line; with `follow`, without an end.

        Args:
            service: 'nginx', 'mlflow', 'agent', or 'model-' and a name; of a workspace also others.
            follow: whether to wait for further lines.
        """


class NoWorkspace:
    """A target that is the tracking server and nothing else."""

    clients: tuple[str, ...] = ()

    def kept_apart(self) -> tuple[Kept, ...]:
        """There is no such thing; see Target."""
        return ()

    def start_rest(self) -> None:
        """There is nothing else; see Target."""

    def workspace(self, _plan: Plan) -> Workspace | None:
        """There is none; see Target."""
        return None

    def run_example(self) -> str:
        """There is no workspace; see Target."""
        raise NotImplementedError

    def client_password(self, _user: str) -> str | None:
        """There are no such clients; see Target."""
        return None

    def keep_client(self, user: str, password: str) -> None:
        """There are no such clients; see Target."""


class CloudTarget(Target, Protocol):
    """What only an environment in a cloud has."""

    def names(self) -> list[str]:
        """The environments that the account holds the record of."""

    def engine_problem(self) -> MissingError | None:
        """What is wrong with this computer's engine, or None."""

    def install_engine(self) -> None:
        """Download an engine into a folder of the kit's own.

        Raises:
            MissingError: it cannot be downloaded.
        """

    def lock(self) -> dict[str, Any] | None:
        """The engine's note of who is changing the environment: username, hostname, pid, timestamp.

        None when nobody is.
        """

    def unlock(self) -> None:
        """Free the lock of a run that is gone."""

    def ring(self) -> None:
        """Have the machine look at everything, and report, within seconds."""

    def policy(self, whose: str, plan: Plan) -> str:
        """What a 'deployer', 'user-administrator' or 'viewer' has to be permitted."""

    def admin_request(self, plan: Plan) -> str:
        """What an administrator has to permit or make for a plan, as text to hand over."""

    def check_removal(self) -> None:
        """Refuse a removal that would end before it began.

        Raises:
            BusyError: somebody holds the lock.
            TrackstackError: the engine's state is damaged, empty or another environment's.
        """

    def remove(self, plan: Plan, purge: bool, tell: Tell, say: Callable[[str], None]) -> None:
        """Take the environment out of the cloud; what holds data stays unless `purge` is set.

        May be repeated until nothing of it is left.

        Args:
            plan: as recorded.
            purge: remove buckets, disks and backups too, and all record of the environment.
            tell: told what happens to each resource.
            say: told how a bucket is emptied.
        """

    def left(self) -> list[Kept]:
        """What in the account still carries the environment's tags, by the cloud's own word."""

    def console(self, machine: str) -> str:
        """What a machine wrote to its serial console, as far as the cloud keeps it."""
