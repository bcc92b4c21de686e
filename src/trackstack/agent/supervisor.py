"""A machine whose services run under supervisor: no root, nothing left in the system."""

import xmlrpc.client
from typing import Any

from supervisor.xmlrpc import Faults, SupervisorTransport

from trackstack.agent import folders
from trackstack.agent.machine import FINISHED, StepError, run

_UP = {"STARTING", "RUNNING", "BACKOFF"}


class Supervisor:
    """Speaks to the supervisor in the machine's folder through its socket."""

    def start(self, service: str) -> None:
        """Take up a service's definition from the services folder and start it."""
        self._call("reloadConfig")
        self._call("addProcessGroup", service, tolerate=(Faults.ALREADY_ADDED,))
        self._call("startProcess", service, False, tolerate=(Faults.ALREADY_STARTED,))

    def stop(self, service: str) -> None:
        """Stop a service and forget its definition; returns when its processes are gone."""
        self._call("stopProcess", service, tolerate=(Faults.BAD_NAME, Faults.NOT_RUNNING))
        self._call("removeProcessGroup", service, tolerate=(Faults.BAD_NAME,))

    def finish(self, service: str, problem: str) -> None:
        """Run a service whose start script ends by itself, as this process's own user."""
        started = f"sh {folders.SERVICES}/{service}.sh || [ $? = {FINISHED} ]"
        run(["sh", "-c", started], problem)

    def reload(self, service: str) -> None:
        """Have a service read its settings again."""
        self._call("signalProcess", service, "HUP", tolerate=(Faults.NOT_RUNNING,))

    def running(self, service: str) -> bool:
        """Whether a service is up or on its way up."""
        info = self._call("getProcessInfo", service, tolerate=(Faults.BAD_NAME,))
        return info is not None and info["statename"] in _UP

    def pid(self, service: str) -> int | None:
        """The first process of a service, or None while it has none."""
        info = self._call("getProcessInfo", service, tolerate=(Faults.BAD_NAME,))
        return (info["pid"] or None) if info is not None else None

    def _call(self, method: str, *arguments: object, tolerate: tuple[int, ...] = ()) -> Any:
        # The address is never used: the transport knows the socket.
        transport = SupervisorTransport(None, None, f"unix://{folders.SUPERVISOR_SOCKET}")
        proxy = xmlrpc.client.ServerProxy("http://localhost", transport=transport)
        try:
            return getattr(proxy.supervisor, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode in tolerate:
                return None
            raise StepError(
                f"supervisor refused {method} {arguments}: {fault.faultString}"
            ) from fault
        except OSError as error:
            raise StepError(f"supervisor does not answer: {error.strerror or error}") from error
        finally:
            transport.close()
