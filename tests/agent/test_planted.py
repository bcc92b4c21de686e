"""A store's credentials reach the process that needs them, and nothing else on the machine."""

from collections.abc import Iterator
from contextlib import suppress
from secrets import token_hex

import psutil
import pytest
from boxes import Box, running_box

from trackstack.agent import folders
from trackstack.durable import write_durably

PLANTED = f"planted-{token_hex(8)}"
"""In no other text of this computer, where these tests may run twice side by side."""


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    """A machine whose release opens a store, after one that failed to."""
    with running_box(driven=True) as made:
        credentials = f"PGPASSWORD='{PLANTED}'\nAWS_SECRET_ACCESS_KEY={PLANTED}\n"
        write_durably(made.machine / folders.STORES, credentials.encode())
        made.want_users({"ada": "one"})
        made.want_release(with_credentials=True, nginx_settings="no_such_directive on;")
        assert not made.round().healthy
        made.want_release(with_credentials=True)
        assert made.round().healthy, made.observed()
        yield made


def processes() -> Iterator[psutil.Process]:
    """Every one of this computer but this one and those above it, who planted it."""
    own = {psutil.Process().pid, *(each.pid for each in psutil.Process().parents())}
    return (each for each in psutil.process_iter() if each.pid not in own)


@pytest.mark.usefixtures("box")
def test_they_are_in_no_command_line() -> None:
    found = []
    for process in processes():
        with suppress(psutil.Error):
            if PLANTED in " ".join(process.cmdline()):
                found.append(process.name())
    assert found == []


def test_only_mlflow_has_them_in_its_environment(box: Box) -> None:
    holders = set()
    for process in processes():
        with suppress(psutil.Error):
            if PLANTED in str(process.environ()):
                holders.add(" ".join(process.cmdline()))
    assert len(holders) == 1, holders
    assert f"run/{box.want_release(with_credentials=True).mlflow}.sock" in holders.pop()


def test_they_are_in_one_file_of_the_machine_and_the_store(box: Box) -> None:
    found = [
        str(file.relative_to(box.machine))
        for file in box.folder.rglob("*")
        if file.is_file() and PLANTED.encode() in file.read_bytes()
    ]
    assert found == [str(folders.STORES)]
