"""The contract of a target."""

from collections.abc import Iterator
from typing import Literal, Protocol

from trackstack.control.base import ControlStore
from trackstack.errors import TrackstackError
from trackstack.outputs import Outputs
from trackstack.plan import Plan


class Target(Protocol):
    """One environment's place: it makes a plan's machine and store exist, and takes them away."""

    @property
    def store(self) -> ControlStore:
        """The control store."""

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
        """Where the plan's server will be."""

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

    def stop(self) -> None:
        """End every process of the machine; its data stays."""

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

    def stored_bytes(self) -> int:
        """How much the server stores: database and artifacts."""

    def room_problem(self) -> TrackstackError | None:
        """What is wrong with the room left for what the server stores, or None."""

    def requests(self) -> Iterator[str]:
        """nginx's log as far back as it goes, the oldest line first."""

    def logs(self, service: str, follow: bool) -> Iterator[str]:
        """A service's log, line by line; with `follow`, without an end.

        Args:
            service: 'nginx', 'mlflow' or 'agent'.
            follow: whether to wait for further lines.
        """
