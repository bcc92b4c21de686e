"""Every way a command can fail ends with its exit code and a plain sentence, never a trace."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from trackstack import errors, tracking
from trackstack.cli.failures import rendered
from trackstack.control.base import NoBucketError
from trackstack.targets import engine_failures

PATIENTLY = """
import os, signal, sys
from trackstack import cli
from trackstack.cli import list_
def wait(json: bool = False) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    signal.pause()
cli.app.registered_commands = [c for c in cli.app.registered_commands if c.name != "list"]
cli.app.command("list")(wait)
sys.argv = ["trackstack", "list"]
cli.main()
"""


def all_errors(base: type[errors.TrackstackError]) -> list[type[errors.TrackstackError]]:
    return [base, *(found for each in base.__subclasses__() for found in all_errors(each))]


KINDS = all_errors(errors.TrackstackError)
CODES = {
    "TrackstackError": 1,
    "UsageError": 2,
    "NotProvenError": 3,
    "TrackingError": 3,
    "MissingError": 4,
    "BusyError": 5,
    "HeldError": 5,
    "ResourceError": 1,
    "NoBucketError": 1,
    "AwayError": 1,
    "CancelledError": 130,
}


def test_every_room_that_has_errors_of_its_own_was_looked_at() -> None:
    rooms = {tracking.TrackingError, engine_failures.HeldError, NoBucketError}
    assert rooms <= set(KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_ends_with_its_exit_code_its_sentence_and_its_hint(
    kind: type[errors.TrackstackError], capsys: pytest.CaptureFixture[str]
) -> None:
    error = kind("It is so.")
    error.hint = "Do that."
    with pytest.raises(SystemExit) as ended, rendered():
        raise error
    assert ended.value.code == CODES[kind.__name__]
    assert capsys.readouterr() == ("", "error: It is so.\n  Do that.\n")


def test_an_error_without_a_hint_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), rendered():
        raise errors.UsageError("It is so.")
    assert capsys.readouterr().err == "error: It is so.\n"


def test_what_succeeds_ends_as_it_would(capsys: pytest.CaptureFixture[str]) -> None:
    with rendered():
        pass
    with pytest.raises(SystemExit) as ended, rendered():
        sys.exit(6)
    assert ended.value.code == 6
    assert capsys.readouterr() == ("", "")


def test_an_error_of_the_system_is_told_with_its_file(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, rendered():
        raise PermissionError(13, "Permission denied", "/some/file")
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("error: /some/file: Permission denied.\n")


def test_an_error_of_the_system_without_a_file_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), rendered():
        raise OSError(5, "Input/output error")
    assert capsys.readouterr().err.startswith("error: This computer: Input/output error.\n")


@pytest.mark.parametrize(("file", "told"), [("/a/b", "/a/b"), (None, "a file")])
def test_a_full_disk_is_told_as_such(
    capsys: pytest.CaptureFixture[str], file: str | None, told: str
) -> None:
    with pytest.raises(SystemExit) as ended, rendered():
        raise OSError(28, "No space left on device", file)
    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        f"error: The disk is full: {told} could not be written.\n"
        "  Nothing is half done. Make room and run the same command again.\n"
    )


def test_a_bug_leaves_its_trace_in_a_file_for_this_account_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(SystemExit) as ended, rendered():
        raise ZeroDivisionError("here it is")
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert "Traceback" not in told
    assert "here it is" not in told
    assert told.startswith("error: trackstack has a bug here: ZeroDivisionError.\n")
    named = re.search(r"the file (\S+)\.\n", told)
    assert named is not None
    trace = Path(named[1])
    assert trace.parent == tmp_path
    assert "here it is" in trace.read_text()
    assert trace.stat().st_mode & 0o077 == 0


def test_an_interrupt_says_that_nothing_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, rendered():
        raise KeyboardInterrupt
    assert ended.value.code == 130
    assert capsys.readouterr().err.startswith("error: Interrupted.\n  ")


def test_control_c_at_work_says_that_nothing_is_lost() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PATIENTLY], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 130
    assert done.stderr.startswith("error: Interrupted.\n  ")
    assert done.stderr.count("Interrupted") == 1


VERSION = "import sys; sys.argv[1:] = ['--version']; from trackstack import cli; cli.main()"
BROKEN = """
from trackstack.cli.failures import rendered
with rendered():
    print("x" * 100_000, flush=True)
"""


@pytest.mark.parametrize("code", [VERSION, BROKEN], ids=["through Typer", "past Typer"])
def test_a_reader_who_has_enough_sees_no_error(code: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writing)
    assert done.stderr == ""
    assert done.returncode == 1
