"""Logs on the laptop: only while somebody looks, and without what must not be seen."""

from datetime import timedelta
from pathlib import Path

import pytest

from trackstack.agent import folders
from trackstack.agent.show_logs import redacted, show_logs
from trackstack.control.directory import DirectoryStore
from trackstack.desired import LogsWanted, logs_key
from trackstack.targets.remote_logs import _new
from unit.making import NOON, a_round, change_of

PASSPHRASE = "planted-passphrase-77"


def wanted(seconds: float) -> LogsWanted:
    return LogsWanted(change=change_of(), service="mlflow", until=NOON + timedelta(seconds=seconds))


@pytest.fixture
def log(machine_folder: Path) -> Path:
    """MLflow's log with a line in it."""
    file = machine_folder / folders.MLFLOW_LOG
    file.write_text("INFO up\n")
    return file


@pytest.mark.usefixtures("log")
def test_a_log_is_shown_while_somebody_looks_and_not_afterwards(store: DirectoryStore) -> None:
    assert not show_logs(a_round(store=store))
    assert not show_logs(a_round(store=store, logs=wanted(-1)))
    assert store.get(logs_key("mlflow")) is None
    assert show_logs(a_round(store=store, logs=wanted(60)))
    shown = store.get(logs_key("mlflow"))
    assert shown is not None
    assert shown.data == b"INFO up\n"


def test_an_unchanged_log_is_not_written_again(
    store: DirectoryStore, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert show_logs(a_round(store=store, logs=wanted(60)))
    writes: list[str] = []
    monkeypatch.setattr(store, "put", lambda key, *_, **__: writes.append(key))
    assert show_logs(a_round(store=store, logs=wanted(60)))
    assert writes == []
    log.write_text("INFO up\nINFO more\n")
    assert show_logs(a_round(store=store, logs=wanted(60)))
    assert writes == [logs_key("mlflow")]


def test_the_machines_own_secrets_are_not_shown(store: DirectoryStore, log: Path) -> None:
    folders.SECRETS.write_text(f"MLFLOW_CRYPTO_KEK_PASSPHRASE={PASSPHRASE}\n")
    log.write_text(f"cannot decrypt with {PASSPHRASE}\n")
    show_logs(a_round(store=store, logs=wanted(60)))
    shown = store.get(logs_key("mlflow"))
    assert shown is not None
    assert shown.data == b"cannot decrypt with ***\n"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("postgresql://mlflow:pa55word@db:5432/mlflow", "postgresql://mlflow:***@db:5432/mlflow"),
        ("Authorization: Basic YWRhOnNlY3JldA==", "Authorization: Basic ***"),
        ('"authorization": "Bearer abc.def"', '"authorization": "Bearer ***"'),
        ("X-Amz-Security-Token: FQoG", "X-Amz-Security-Token: ***"),
        ("GET https://example.com/a:b", "GET https://example.com/a:b"),
    ],
)
def test_what_looks_like_a_secret_is_not_shown(line: str, shown: str) -> None:
    assert redacted(line, []) == shown


@pytest.mark.parametrize(
    ("shown", "now", "new"),
    [
        ([], ["a", "b"], ["a", "b"]),
        (["a", "b"], ["a", "b"], []),
        (["a", "b"], ["a", "b", "c"], ["c"]),
        (["a", "b", "c"], ["b", "c", "d"], ["d"]),
        (["a"], ["x", "y"], ["x", "y"]),
    ],
)
def test_of_a_tail_that_moves_on_only_new_lines_are_shown(
    shown: list[str], now: list[str], new: list[str]
) -> None:
    assert _new(shown, now) == new
