"""Renders every failure once: one plain sentence, then what to do next; never a traceback."""

import errno
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from trackstack.errors import TrackstackError, printable

_INTERRUPTED = 130
_FAILED = 1


@contextmanager
def rendered() -> Iterator[None]:
    """End the process with the failure's sentence and exit code."""
    try:
        yield
    except TrackstackError as error:
        _tell(error.sentence, error.hint)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _tell_interrupted()
        sys.exit(_INTERRUPTED)
    except SystemExit as end:
        if end.code == _INTERRUPTED:  # Typer takes an interrupt for an exit that needs no word
            _tell_interrupted()
        raise
    except BrokenPipeError:
        # The reader, such as `head`, has enough; nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_FAILED)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            _tell(
                f"The disk is full: {error.filename or 'a file'} could not be written.",
                "Nothing is half done. Make room and run the same command again.",
            )
            sys.exit(_FAILED)
        _tell(
            f"{error.filename or 'This computer'}: {error.strerror or error}.",
            "Nothing is lost; mend that and run the same command again.",
        )
        sys.exit(_FAILED)
    except Exception as error:  # a bug of ours: the trace goes to a file, not to the person
        with tempfile.NamedTemporaryFile(
            "w", prefix="trackstack-", suffix=".txt", delete=False
        ) as file:
            traceback.print_exc(file=file)
        _tell(
            f"trackstack has a bug here: {type(error).__name__}.",
            f"Please report it with the file {file.name}.",
        )
        sys.exit(_FAILED)


def _tell_interrupted() -> None:
    _tell("Interrupted.", "What was begun is safe; run the same command again to go on.")


def _tell(sentence: str, hint: str | None) -> None:
    told = f"error: {sentence}\n" + (f"  {hint}\n" if hint else "")
    sys.stderr.write("\n".join(map(printable, told.split("\n"))))
