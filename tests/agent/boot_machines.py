"""A machine that boot.py started, over a control store in a folder, with a stand-in for MLflow."""

import hashlib
import io
import json
import os
import site
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uv
from boxes import DEADLINE_SECONDS, Box, make_wheel

import supervised
from kits import free_port
from trackstack import agent_archive, bundle
from trackstack.agent import processes
from trackstack.control.base import change
from trackstack.desired import Agent, Observed

PYTHON = getattr(sys, "_base_executable", sys.executable)
"""The system's, without what the tests have installed."""
TRIAL_SECONDS = 15
LOCK = "# The tests' own packages stand in for these.\n"


@dataclass
class Booted:
    """One machine.

    Attributes:
        box: the parts that every machine has.
        boot: the program, whose patience is shorter than that of the real one.
    """

    box: Box
    boot: Path
    supervisor: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    def start(self) -> None:
        """Start it as its unit does."""
        with (self.box.folder / "boot.log").open("ab") as log:
            self.supervisor = subprocess.Popen(
                supervised.command(self.boot, self.box.folder / "machine.json", self.box.folder),
                stdout=log,
                stderr=log,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(self.box.folder),
                    "UV_CACHE_DIR": str(self.box.folder / "uv"),
                    "PYTHONDONTWRITEBYTECODE": "1",
                    "PIP_NO_INDEX": "1",
                },
                start_new_session=True,
            )

    def lose_power(self) -> None:
        """End all of it at once."""
        if self.supervisor is not None:
            self.supervisor.kill()
            self.supervisor.wait(DEADLINE_SECONDS)
            self.supervisor = None
        processes.end_strays(self.box.machine)

    def want(self, archive: bytes, lock: str = LOCK, put: bytes | None = None) -> Agent:
        """Have another agent wanted, as a deploy with another kit does.

        Args:
            archive: the agent's program.
            lock: its packages.
            put: what lies in the store in place of the archive.
        """
        parts = {"archive": archive, "lock": lock.encode()}
        hashes = {part: hashlib.sha256(data).hexdigest() for part, data in parts.items()}
        folder = self.box.folder / "control" / "desired" / "agent"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{hashes['archive']}.pyz").write_bytes(put or archive)
        (folder / f"{hashes['lock']}.txt").write_text(lock)
        return change(self.box.store, Agent, "test", lambda _: dict(hashes))

    def wait_for_agent(self, wanted: Agent) -> Observed:
        """Wait until an agent reports itself, with nothing to complain of."""
        return self.box.wait_observed(
            lambda report: (report.agent, report.agent_problem) == (wanted.id, None),
            "the wanted agent",
        )

    def wait_until_proven(self, wanted: Agent) -> None:
        """Wait until an agent is the one to come back to, which is right after its report."""
        until = time.monotonic() + DEADLINE_SECONDS
        while json.loads((self.agents / "state.json").read_text())["kept"] != wanted.id:
            assert time.monotonic() < until, f"{wanted.id} is not kept"
            time.sleep(0.02)

    def wait_for_problem(self) -> Observed:
        """Wait until the wanted agent is refused, and whoever runs says so."""
        return self.box.wait_observed(
            lambda report: bool(report.agent_problem), "the bad agent", 4 * TRIAL_SECONDS
        )

    @property
    def agents(self) -> Path:
        """What boot.py keeps."""
        return self.box.folder / "agent"


def archive(variant: str = "", begin: str = "") -> bytes:
    """An agent: the kit's own, in one of many variants.

    Args:
        variant: anything; it changes nothing but the hash.
        begin: lines for the agent to run first.
    """
    made = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(agent_archive.archive())) as own,
        zipfile.ZipFile(made, "w") as packed,
    ):
        for name in own.namelist():
            content = own.read(name)
            if name == "trackstack/agent/__main__.py":
                content = f"{begin}\n# {variant}\n".encode() + content
            packed.writestr(zipfile.ZipInfo(name), content)
    return made.getvalue()


@contextmanager
def booted() -> Iterator[Booted]:
    """A machine that runs an agent; its processes and its folder are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="boot-", dir="/tmp") as name:
        folder = Path(name).resolve()
        box = Box(folder, free_port(), make_wheel(folder))
        settings = {"cloud": "aws", "store": str(folder / "control")}
        (folder / "machine.json").write_text(json.dumps(settings))
        text = (bundle.templates() / "cloud-init" / "boot.py").read_text()
        patience = "TRIAL_SECONDS = 40\n"
        assert patience in text
        boot = folder / "boot.py"
        boot.write_text(text.replace(patience, f"TRIAL_SECONDS = {TRIAL_SECONDS}\n"))
        made = Booted(box, boot)
        seed_packages_of(LOCK, made.agents)
        made.start()
        try:
            yield made
        except BaseException:
            for log in (folder / "boot.log", box.machine / "logs" / "agent.log"):
                if log.is_file():
                    sys.stderr.write(f"{log}:\n{log.read_text()[-3000:]}\n")
            raise
        finally:
            made.lose_power()


def seed_packages_of(lock: str, agents: Path) -> None:
    """Give an agent the tests' own packages, without the kit, so that none has to be fetched."""
    packages = agents / hashlib.sha256(lock.encode()).hexdigest()
    agents.mkdir(exist_ok=True)
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", packages], check=True)
    (place,) = packages.glob("lib/python3*/site-packages")
    (place / "tests.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    (packages / "bin" / "uv").symlink_to(uv.find_uv_bin())
