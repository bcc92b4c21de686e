"""The agent's archive and lock: the same bytes everywhere, and all that a machine needs."""

import hashlib
import io
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from trackstack import agent_archive
from trackstack.control.base import read
from trackstack.control.directory import DirectoryStore
from trackstack.desired import Agent

PACKAGE = Path(agent_archive.__file__).parent


def test_the_archive_is_the_same_from_another_copy_of_the_kit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, tmp_path / "trackstack", ignore=ignored, copy_function=shutil.copyfile)
    here = agent_archive.archive()
    monkeypatch.setattr(agent_archive, "_PACKAGE", tmp_path / "trackstack")
    assert agent_archive.archive() == here


def test_nothing_in_the_archive_depends_on_the_computer_that_made_it() -> None:
    with zipfile.ZipFile(io.BytesIO(agent_archive.archive())) as archive:
        entries = archive.infolist()
    assert [entry.filename for entry in entries] == sorted(entry.filename for entry in entries)
    told = {(e.date_time, e.compress_type, e.create_system, e.external_attr) for e in entries}
    assert told == {((1980, 1, 1, 0, 0, 0), zipfile.ZIP_STORED, 3, 0o644 << 16)}


def test_the_archive_holds_the_agent_and_nothing_of_the_laptops_kit() -> None:
    with zipfile.ZipFile(io.BytesIO(agent_archive.archive())) as archive:
        names = archive.namelist()
    rooms = {name.removesuffix(".py").split("/")[1] for name in names if "/" in name}
    assert rooms == {"__init__", "agent", "control", "desired", "durable", "errors"}


@pytest.mark.parametrize("what", ["launcher", "processes", "agent"])
def test_the_archive_runs_as(tmp_path: Path, what: str) -> None:
    program = tmp_path / "agent.pyz"
    program.write_bytes(agent_archive.archive())
    done = subprocess.run(
        [sys.executable, "-I", "-P", program, what],
        capture_output=True,
        text=True,
        env={},
        cwd=tmp_path,
        check=False,
    )
    # Each wants to be told more; where they stumble they tell which file they are.
    wanted = {
        "launcher": "the following arguments are required: folder, store, machine",
        "processes": "agent.pyz/trackstack/agent/processes.py",
        "agent": "agent.pyz/trackstack/agent/__main__.py",
    }
    assert wanted[what] in done.stderr
    assert done.returncode != 0


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_the_lock_has_hashes_for_all_and_the_sdk_of_one_cloud(cloud: str) -> None:
    lock = agent_archive.lock(cloud)
    packages = re.findall(r"^([a-z0-9-]+)==", lock, re.M)
    assert {"pydantic", "psutil", "supervisor", "uv", "cryptography", "inotify-simple"} <= {
        *packages
    }
    sdks = {"boto3", "google-cloud-storage"}
    assert sdks & {*packages} == {{"aws": "boto3", "gcp": "google-cloud-storage"}[cloud]}
    for block in re.split(r"^(?=[a-z0-9-]+==)", lock, flags=re.M):
        assert not block.strip() or "--hash=sha256:" in block or block.startswith("#"), block


def test_publishing_puts_all_parts_before_the_document_that_names_them(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    put: list[str] = []

    class Watched(DirectoryStore):
        def put(self, key: str, data: bytes, expect: str | None) -> str:
            put.append(key)
            return super().put(key, data, expect)

    agent_archive.publish(Watched(tmp_path), "aws")
    agent, _ = read(store, Agent)
    assert agent is not None
    assert put[:3] == [agent.archive_key, agent.lock_key, Agent.KEY]
    for key, wanted in ((agent.archive_key, agent.archive), (agent.lock_key, agent.lock)):
        stored = store.get(key)
        assert stored is not None
        assert hashlib.sha256(stored.data).hexdigest() == wanted


def test_publishing_again_writes_nothing(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    agent_archive.publish(store, "aws")
    before = read(store, Agent)
    agent_archive.publish(store, "aws")
    assert read(store, Agent) == before


def test_a_publication_that_was_killed_is_finished_by_the_next(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    data = agent_archive.archive()
    store.put(f"desired/agent/{hashlib.sha256(data).hexdigest()}.pyz", data, expect=None)
    agent_archive.publish(store, "gcp")
    assert read(store, Agent)[0] is not None
