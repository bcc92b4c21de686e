"""The agent as it travels to a machine in a cloud: an archive, and the lock of its packages."""

import hashlib
import io
import zipfile
from pathlib import Path

from trackstack import bundle
from trackstack.control.base import ConflictError, ControlStore, change, read
from trackstack.desired import Agent

_PACKAGE = Path(bundle.__file__).parent
_PARTS = ("__init__.py", "errors.py", "durable.py", "desired.py", "agent", "control")
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The oldest time an archive can hold: its bytes depend on its content alone."""

_MAIN = """\
import runpy
import sys

what = sys.argv.pop(1)
name = "trackstack.agent" if what == "agent" else f"trackstack.agent.{what}"
runpy.run_module(name, None, "__main__")
"""


def archive() -> bytes:
    """The agent's program: the same bytes from a wheel and from a checkout, on every computer."""
    files = {"__main__.py": _MAIN.encode()}
    for part in _PARTS:
        path = _PACKAGE / part
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            files[f"trackstack/{file.relative_to(_PACKAGE).as_posix()}"] = file.read_bytes()
    packed = io.BytesIO()
    # Not compressed: that differs between builds of zlib, and a laptop would put its own agent in
    # place of another's.
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive_:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _LONG_AGO)
            entry.create_system = 3  # else that of the computer it is made on
            entry.external_attr = 0o644 << 16
            archive_.writestr(entry, files[name])
    return packed.getvalue()


def lock(target: str) -> str:
    """The agent's packages where it does not run in the kit's own Python: a lock with hashes.

    Args:
        target: 'aws', 'gcp' or 'compose'.
    """
    return (bundle.templates() / "requirements" / f"agent-{target}.txt").read_text()


def publish(store: ControlStore, cloud: str) -> None:
    """Put the agent into a control store, and have the machine run it; nothing when it is there."""
    parts = {"archive": archive(), "lock": lock(cloud).encode()}
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in parts.items()}
    known, _ = read(store, Agent)
    if known is not None and (known.archive, known.lock) == (hashes["archive"], hashes["lock"]):
        return
    for name, suffix in (("archive", "pyz"), ("lock", "txt")):
        try:
            # Named by its hash, so whatever lies there already is the same.
            store.put(f"desired/agent/{hashes[name]}.{suffix}", parts[name], expect=None)
        except ConflictError:
            continue
    content: dict[str, object] = dict(hashes)
    change(store, Agent, "another agent", lambda _: content)
