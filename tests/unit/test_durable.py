"""write_durably: a reader, or a power cut at any moment, finds the old value or the new one."""

import errno
import io
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from trackstack.durable import make_folder, write_durably


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, object]]:
    """Every flush and rename, in order, with what was on its way at that moment."""
    made: list[tuple[str, object]] = []
    fsync, replace = os.fsync, os.replace

    def noting_fsync(handle: int) -> None:
        about = os.fstat(handle)
        if stat.S_ISDIR(about.st_mode):
            made.append(("flush folder", about.st_ino))
        else:
            made.append(("flush file of size", about.st_size))
        fsync(handle)

    def noting_replace(source: Any, target: Any, **more: Any) -> None:
        made.append(("rename to", Path(target).name))
        replace(source, target, **more)

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(os, "replace", noting_replace)
    return made


def test_the_order_is_write_flush_rename_flush_of_the_folder(
    tmp_path: Path, calls: list[tuple[str, object]]
) -> None:
    write_durably(tmp_path / "value", b"x" * 5000)
    assert calls == [
        ("flush file of size", 5000),
        ("rename to", "value"),
        ("flush folder", tmp_path.stat().st_ino),
    ]


def test_a_new_folder_is_flushed_into_the_one_above_it_before_anything_is_in_it(
    tmp_path: Path, calls: list[tuple[str, object]]
) -> None:
    write_durably(tmp_path / "a" / "b" / "value", b"x")
    assert calls == [
        ("flush folder", tmp_path.stat().st_ino),
        ("flush folder", (tmp_path / "a").stat().st_ino),
        ("flush file of size", 1),
        ("rename to", "value"),
        ("flush folder", (tmp_path / "a" / "b").stat().st_ino),
    ]


class FullDisk(io.BytesIO):
    """A file of which only the beginning fits."""

    def write(self, _: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fileno(self) -> int:
        raise AssertionError("nothing was written, so there is nothing to flush")


def full(handle: int, _: str) -> FullDisk:
    os.close(handle)
    return FullDisk()


def fail(*_: object, **__: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


FAILURES = [
    ("tempfile.mkstemp", fail, OSError),
    ("os.fdopen", full, OSError),
    ("os.fchmod", fail, OSError),
    ("os.fsync", fail, OSError),
    ("os.fsync", interrupt, KeyboardInterrupt),
    ("os.replace", fail, OSError),
    ("os.replace", interrupt, KeyboardInterrupt),
]


@pytest.mark.parametrize(
    ("call", "instead", "error"), FAILURES, ids=[f"{row[0]}-{row[1].__name__}" for row in FAILURES]
)
def test_a_failing_call_leaves_the_old_value_and_nothing_else(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    instead: Any,
    error: type[BaseException],
) -> None:
    (tmp_path / "value").write_bytes(b"old")
    with monkeypatch.context() as patched:
        patched.setattr(call, instead)
        for name in ("value", "a first value"):
            with pytest.raises(error):
                write_durably(tmp_path / name, b"new")
    left = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert left == {"value": b"old"}


def test_a_folder_that_cannot_be_flushed_is_an_error_over_a_whole_new_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rename may or may not outlive a power cut: whoever wrote must not believe it did."""
    fsync = os.fsync

    def fail_for_folders(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            fail()
        fsync(handle)

    monkeypatch.setattr(os, "fsync", fail_for_folders)
    with pytest.raises(OSError, match="Input/output"):
        write_durably(tmp_path / "value", b"new")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"value": b"new"}


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_modes_do_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_durably(tmp_path / "private", b"x")
        write_durably(tmp_path / "program", b"x", 0o700)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "program").stat().st_mode) == 0o700


def test_a_value_written_over_is_private_again(tmp_path: Path) -> None:
    (tmp_path / "value").write_bytes(b"old")
    (tmp_path / "value").chmod(0o644)
    write_durably(tmp_path / "value", b"new")
    assert stat.S_IMODE((tmp_path / "value").stat().st_mode) == 0o600


def test_a_link_is_replaced_and_what_it_led_to_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"old")
    (tmp_path / "value").symlink_to(tmp_path / "elsewhere")
    write_durably(tmp_path / "value", b"new")
    assert (tmp_path / "elsewhere").read_bytes() == b"old"
    assert (tmp_path / "value").read_bytes() == b"new"


def test_a_folder_is_made_private_and_one_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_folder(tmp_path / "a" / "b")
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path, tmp_path / "a" / "b")]
    assert modes == [0o755, 0o700]
