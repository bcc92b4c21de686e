"""What the server of one model runs with, and where it listens."""

import socket
from pathlib import Path

from trackstack.agent import folders
from trackstack.desired import Part

_BACKLOG = 2048
RESERVED_MB = 4096
"""What numeric libraries set aside and never touch counts for the kernel's limit: 1.4 GB with
scikit-learn and pyarrow, as measured with MLflow 3.17."""


class Settings(Part):
    """What the server of one model runs with.

    Attributes:
        version: of the model.
        files: the folder with the model, in the machine's.
        environment: likewise, the one with its packages.
        walled: whether it is to run within walls. Found out before it is placed, and not again at
            each start: a model might see to it that walls cannot be put up for a moment. None of a
            server that was placed before this was kept.
    """

    version: str
    files: str
    environment: str
    memory_mb: int
    request_mb: int
    seconds: int
    walled: bool | None = None

    @property
    def most_memory_mb(self) -> int:
        """What one request may have it take at most, by the kernel's count."""
        return self.memory_mb + RESERVED_MB


def settings_of(service: str) -> Settings:
    """The settings of a server.

    Raises:
        OSError: there is no such server.
        ValueError: they are damaged.
    """
    return Settings.model_validate_json(settings_file(service).read_bytes())


def settings_file(service: str) -> Path:
    """Where a server's settings are kept."""
    return folders.SERVICES / f"{service}.json"


def socket_of(service: str) -> Path:
    """Where a server listens."""
    return folders.MODEL_SERVERS / service / "socket"


def listen(path: Path, mode: int = 0o600) -> socket.socket:
    """Open a socket; nobody finds it before it can be connected to."""
    listening = socket.socket(socket.AF_UNIX)
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    listening.bind(str(new))
    new.chmod(mode)
    listening.listen(_BACKLOG)
    # In one step: nginx takes a socket that is not there for a model that is not served.
    new.replace(path)
    return listening
