"""Sleeps until something happens in a folder, so that waiting costs nothing."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Sleep = Callable[[float], None]
"""Returns after so many seconds, or as soon as something happened; it may return early."""

if sys.platform == "linux":

    @contextmanager
    def watching(folders: set[Path]) -> Iterator[Sleep]:
        """Watch folders, not those in them; whatever happens from now on ends the next sleep."""
        from inotify_simple import INotify, flags  # noqa: PLC0415  few commands wait

        woken_by = (
            flags.MOVED_TO | flags.MOVED_FROM | flags.CLOSE_WRITE | flags.DELETE | flags.DELETE_SELF
        )
        with INotify() as events:
            for folder in folders:
                events.add_watch(folder, woken_by)
            yield lambda seconds: events.read(timeout=max(1, int(seconds * 1000)))

else:

    @contextmanager
    def watching(folders: set[Path]) -> Iterator[Sleep]:
        """Watch folders, not those in them; whatever happens from now on ends the next sleep."""
        from watchfiles._rust_notify import RustNotify  # noqa: PLC0415  few commands wait

        watcher = RustNotify([str(folder) for folder in folders], False, False, 300, False, True)

        def sleep(seconds: float) -> None:
            # Milliseconds: gather for 20 after a first change, look every 20.
            if watcher.watch(20, 20, max(1, int(seconds * 1000)), None) == "signal":
                raise KeyboardInterrupt  # the watcher swallows what Control-C raised

        yield sleep
