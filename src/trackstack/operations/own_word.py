"""What a machine says of itself, where its firewall does not let this computer in."""

import errno
import socket
from contextlib import suppress
from datetime import datetime

from trackstack.control.base import read
from trackstack.desired import Observed, observed_key
from trackstack.environment import Environment
from trackstack.errors import NotProvenError, TrackstackError
from trackstack.operations.receipt import MissError, Prover, Receipt
from trackstack.plan import HTTPS

_CONNECT_SECONDS = 5.0
_REPORT_SECONDS = 90.0
"""An agent reports once a minute."""

_UNREACHABLE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES, errno.EPERM}

_LOOKED_AT = {
    "users": "exactly those let in have a password",
    "packages": "every package has its hash",
    "stores": "database and bucket open",
    "mlflow": "MLflow answers a real question",
    "certificates": "its certificates hold",
    "nginx": "nginx asks for a login",
}


def lets_me_in(host: str) -> bool:
    """Whether a machine takes a connection from this computer; a firewall is silent."""
    try:
        socket.create_connection((host, HTTPS), _CONNECT_SECONDS).close()
    except TimeoutError:
        return False
    except OSError as error:
        # A host that says no is no firewall: the checks will tell what is wrong with it.
        return error.errno not in _UNREACHABLE
    return True


def looked_at_itself(environment: Environment, prover: Prover, started: datetime) -> Receipt:
    """The checks of the machine's own agent, from a report that it writes now.

    Raises:
        NotProvenError: it writes none.
    """
    store, key = environment.target.store, observed_key(environment.outputs.machine)
    before = store.get(key)
    with suppress(TrackstackError):  # who may only look waits for its next report
        environment.cloud.ring()
    store.wait_for_change({key: before.tag if before else None}, _REPORT_SECONDS)
    report, tag = read(store, Observed, key)
    if report is None or tag == (before.tag if before else None):
        raise NotProvenError(
            f"This computer is not let in by environment {environment.name!r}, and the machine "
            f"reported nothing within {_REPORT_SECONDS:.0f} seconds.",
            f"`trackstack allow add me -e {environment.name}` lets this computer in; "
            f"`trackstack status -e {environment.name}` says what was heard last.",
        )
    for step in report.steps:
        if step.name in _LOOKED_AT:

            def seen(state: str = step.state, problem: str | None = step.problem) -> str:
                if state != "done":
                    raise MissError(problem or "it has not come so far")
                return f"by the machine's own word of {report.heartbeat:%H:%M:%S} UTC"

            prover.check(_LOOKED_AT[step.name], seen)
    return Receipt(
        environment=environment.name,
        url=environment.url,
        at=started,
        quick=True,
        from_machine=True,
        checks=tuple(prover.checks),
    )
