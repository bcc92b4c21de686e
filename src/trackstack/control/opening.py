"""Opens a control store by its address."""

import importlib
from pathlib import Path
from urllib.parse import urlsplit

from trackstack.control.base import ControlStore
from trackstack.control.directory import DirectoryStore
from trackstack.errors import UsageError

_BUCKETS = {"s3": "trackstack.control.s3", "gs": "trackstack.control.gcs"}


def open_store(address: str) -> ControlStore:
    """The store at an address.

    Args:
        address: a folder's path, 's3://bucket?region=…&owner=…' or 'gs://bucket'.

    Raises:
        UsageError: it is none of these.
    """
    parts = urlsplit(address)
    if not parts.scheme:
        return DirectoryStore(Path(address))
    if parts.scheme not in _BUCKETS:
        raise UsageError(
            f"{address!r} is no control store.", "Name a folder, s3://BUCKET or gs://BUCKET."
        )
    # By name, because a cloud's tools take a second to import.
    store: ControlStore = importlib.import_module(_BUCKETS[parts.scheme]).at(parts)
    return store
