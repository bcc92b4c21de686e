"""An environment: its record, its first user's credentials, its target, its place at home."""

import fcntl
import importlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import platformdirs
from packaging.version import Version
from pydantic import AwareDatetime, Field, ValidationError

from trackstack import __version__, names
from trackstack.desired import AUTHORITIES_KEY, Part
from trackstack.durable import make_folder, write_durably
from trackstack.errors import BusyError, TrackstackError, UsageError
from trackstack.outputs import Outputs
from trackstack.place import Place
from trackstack.plan import Plan
from trackstack.spec import Spec
from trackstack.targets.base import CloudTarget, Target
from trackstack.targets.local import Local
from trackstack.targets.record_file import RECORD
from trackstack.tracking import Tracking

FORMAT = 1

_LOCK = ".lock"
_PLACE = "place.json"


class Record(Part):
    """What was decided, and stays until someone changes it.

    Attributes:
        kit: the version that wrote it last.
        asked: what was asked for in so many words, by flags or in a spec file.
        spec: the effective spec: every value decided.
        plan: what the release in the control store was rendered from.
        outputs: what a cloud said when it was made; None before, and on this computer.
        temporary: networks that may connect until a time, beside those of the spec.
        let_in: users whom deploys let in; one of them removed since then stays out.
        settled: whether all of it was made true and verified; False while a deploy is under
            way, and after one that was killed or failed.
        removed: when its removal began; None while it is meant to run.
    """

    format: int = FORMAT
    kit: str = __version__
    asked: dict[str, Any]
    spec: Spec
    plan: Plan
    outputs: Outputs | None = None
    temporary: dict[str, AwareDatetime] = Field(default_factory=dict)
    created: AwareDatetime
    let_in: tuple[str, ...] = ()
    settled: bool = False
    removed: AwareDatetime | None = None


class Environment:
    """One environment, whether it exists yet or not.

    Attributes:
        name: of the environment.
        folder: everything this computer keeps of it.
        place: the account of a cloud that it is in; None on this computer.
        kind: the kind of target, as in `deploy TARGET`.
        target: where it runs.
    """

    def __init__(self, name: str, place: Place | None = None, kind: str = "local") -> None:
        """Look at what this computer keeps of it.

        Args:
            name: of the environment.
            place: the account of a cloud that it is in, when this computer need not know it yet.
            kind: of a new one on this computer: 'local' or 'compose'.
        """
        self.name = name
        self.folder = environments_folder() / name
        self.place = place or self._kept_place()
        self.kind = self.place.target if self.place else self._kept_kind() or kind
        self.target = self._target()

    @property
    def cloud(self) -> CloudTarget:
        """Its target, when that is a cloud.

        Raises:
            UsageError: it is on this computer.
        """
        if self.place is None:
            raise UsageError(
                f"Environment {self.name!r} is on this computer, and that is about clouds."
            )
        return cast("CloudTarget", self.target)

    @property
    def exists(self) -> bool:
        """Whether this computer knows of it."""
        return (self.folder / RECORD).is_file() or self._place_file.is_file()

    def record(self) -> Record | None:
        """The record, or None before the first deploy.

        Raises:
            TrackstackError: it is damaged, or a newer kit wrote it.
        """
        kept = self.target.read_record()
        if kept is None:
            return None
        try:
            content = json.loads(kept)
            kit = Version(content["kit"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self._damaged() from error
        if kit > Version(__version__):
            raise TrackstackError(
                f"Environment {self.name!r} was last changed by trackstack {kit}, and this is the "
                f"older {__version__}.",
                f"Install trackstack {kit} or newer; an older kit writes nothing over its record.",
            )
        try:
            return Record.model_validate(content)
        except ValidationError as error:
            raise self._damaged() from error

    def existing_record(self) -> Record:
        """The record of an environment that must exist.

        Raises:
            UsageError: there is no such environment; the nearest name is suggested.
        """
        record = self.record()
        if record is None:
            raise no_such_environment(self.name)
        return record

    def write_record(self, record: Record) -> None:
        """Keep a record."""
        current = record.model_copy(update={"kit": __version__})
        if self.place is not None:
            self.keep_place(self.place)
        self.target.write_record(current.model_dump_json(indent=1).encode() + b"\n")

    def keep_place(self, place: Place) -> None:
        """Keep on this computer where the environment is, so that commands find it."""
        if self._kept_place() != place:
            write_durably(self._place_file, place.model_dump_json(indent=1).encode() + b"\n")

    @property
    def outputs(self) -> Outputs:
        """Where the server is, and under which name its machine reports."""
        record = self.existing_record()
        return record.outputs or self.target.outputs(record.plan)

    @property
    def url(self) -> str:
        """Where the server is."""
        return self.outputs.url

    def authorities(self) -> Path | None:
        """A file with what clients have to trust, for a server with certificates of its own."""
        if self.existing_record().plan.nginx.tls != "own":
            return None
        stored = self.target.store.get(AUTHORITIES_KEY)
        file = self.folder / "ca.pem"
        if stored is not None and (not file.is_file() or file.read_bytes() != stored.data):
            write_durably(file, stored.data)
        return file if file.is_file() else None

    def tracking(self, user: str, password: str) -> Tracking:
        """The server's tracking API, as a user sees it."""
        return Tracking(self.url, user, password, self.authorities())

    def password(self, user: str) -> str | None:
        """The password of the user this computer keeps credentials of, or None for another."""
        return self._credentials().get(user)

    def owner(self) -> str | None:
        """The user this computer keeps credentials of."""
        return next(iter(self._credentials()), None)

    def keep_password(self, user: str, password: str) -> None:
        """Keep the first user's password, readable for this account only."""
        write_durably(self._credentials_file, json.dumps({user: password}).encode())

    def forget_password(self) -> None:
        """Keep no password any longer."""
        self._credentials_file.unlink(missing_ok=True)

    def keep_receipt(self, receipt: str, at: datetime) -> Path:
        """Keep what verify proved; returns where."""
        path = self.folder / "receipts" / f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}.json"
        write_durably(path, receipt.encode())
        return path

    @contextmanager
    def held(self, activity: str, command: str) -> Iterator[None]:
        """Hold this environment against the same activity of other commands on this computer.

        Args:
            activity: 'changing' or 'verifying'.
            command: what to call this one when another comes second.

        Raises:
            BusyError: another command holds it.
        """
        places = (self.folder, environments_folder(), home())
        new = [folder for folder in places if not folder.exists()]
        try:
            handle = self._lock(activity)
        except OSError as error:
            _remove_empty(new)
            raise TrackstackError(
                f"Nothing can be kept in {self.folder}: {error.strerror}.",
                "Make room or give this account the right to write there, or set TRACKSTACK_HOME "
                "to another folder.",
            ) from error
        try:
            now = datetime.now().astimezone()
            told = f"{command}, process {os.getpid()}, since {now:%H:%M:%S}"
            with suppress(OSError):  # a full disk: only whoever comes second misses it
                os.ftruncate(handle, 0)
                os.pwrite(handle, told.encode(), 0)
            yield
        finally:
            if not self.exists and all(entry.suffix == _LOCK for entry in self.folder.iterdir()):
                shutil.rmtree(self.folder)
                _remove_empty(new)
            os.close(handle)

    def forget(self) -> None:
        """Remove all that this computer keeps of it; the record goes last."""
        self.target.purge()
        for entry in list(self.folder.iterdir()):
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.name != RECORD and entry.suffix != _LOCK:
                entry.unlink()
        (self.folder / RECORD).unlink(missing_ok=True)
        if not all_names():
            # Packages kept for the next environment: there is none.
            shutil.rmtree(home() / "cache", ignore_errors=True)

    def _lock(self, activity: str) -> int:
        while True:
            make_folder(self.folder)
            file = self.folder / f"{activity}{_LOCK}"
            try:
                handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
            except FileNotFoundError:
                continue  # another one has just removed what it had made
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                told = os.pread(handle, 200, 0).decode(errors="replace").strip()
                os.close(handle)
                raise BusyError(
                    f"Another command is {activity} environment {self.name!r}: {told}.",
                    "Wait until it has ended, then run this one again.",
                ) from error
            # The holder before may have removed the folder between our open and our lock.
            if _is_at(file, handle):
                return handle
            os.close(handle)

    @property
    def _place_file(self) -> Path:
        return self.folder / _PLACE

    def _kept_place(self) -> Place | None:
        try:
            return Place.model_validate_json(self._place_file.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValidationError as error:
            raise TrackstackError(
                f"{self._place_file}, which says where environment {self.name!r} is, is damaged.",
                f"Remove it, then `trackstack attach {self.name}`.",
            ) from error

    def _kept_kind(self) -> str | None:
        """What the record says; a damaged one is told of when it is read as a whole."""
        try:
            kept: dict[str, Any] = json.loads((self.folder / RECORD).read_bytes())
            return str(kept["spec"]["target"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def _target(self) -> Target:
        if self.kind == "compose":
            # Here, because it brings cryptography along, which no other target's commands need.
            from trackstack.targets.compose import Compose  # noqa: PLC0415

            return Compose(self.folder)
        if self.place is None:
            return Local(self.folder, home() / "cache")
        # By name, because the clouds' tools take a second to import.
        cloud = importlib.import_module("trackstack.targets.cloud")
        made: Target = cloud.Cloud(self.name, self.place, home() / "engine")
        return made

    @property
    def _credentials_file(self) -> Path:
        return self.folder / "credentials.json"

    def _credentials(self) -> dict[str, str]:
        try:
            content = json.loads(self._credentials_file.read_bytes())
        except (FileNotFoundError, ValueError, RecursionError):
            return {}
        # A damaged file is no file: `env` then asks for the password.
        sound = isinstance(content, dict) and all(
            isinstance(word, str) and word.isascii() for pair in content.items() for word in pair
        )
        return content if sound else {}

    def _damaged(self) -> TrackstackError:
        return TrackstackError(
            f"The record {self.folder / RECORD} is damaged."
            if self.place is None
            else f"The record of environment {self.name!r} in {self.place.told} is damaged.",
            "Put back a copy of it, or remove the environment by hand."
            if self.place is None
            else "Its bucket keeps earlier versions of it: put one back.",
        )


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError):  # it is gone, or there is something in it after all
            folder.rmdir()


def _is_at(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def home() -> Path:
    """The folder for everything the kit keeps on this computer."""
    asked = os.environ.get("TRACKSTACK_HOME")
    return Path(asked).absolute() if asked else platformdirs.user_data_path("trackstack")


def environments_folder() -> Path:
    """The folder that holds a folder for each environment."""
    return home() / "environments"


def all_names() -> list[str]:
    """The names of the environments on this computer."""
    folder = environments_folder()
    if not folder.is_dir():
        return []
    return sorted(
        entry.name
        for entry in folder.iterdir()
        if any((entry / name).is_file() for name in (RECORD, _PLACE))
    )


def find(name: str | None) -> Environment:
    """The environment meant: the named one, or the only one there is.

    Raises:
        UsageError: there is none, or several and none was named.
    """
    known = all_names()
    if name is not None:
        if name not in known:
            raise no_such_environment(name)
        return Environment(name)
    if len(known) == 1:
        return Environment(known[0])
    if not known:
        raise UsageError("There is no environment yet.", "`trackstack deploy local` makes one.")
    raise UsageError(
        f"There are several environments: {', '.join(known)}.", f"Say which: `-e {known[0]}`."
    )


def no_such_environment(name: str) -> UsageError:
    """The error for a name that no environment has."""
    known = all_names()
    near = names.nearest(name, known)
    return UsageError(
        f"There is no environment {name!r}.",
        f"Did you mean {near!r}?" if near else "`trackstack list` shows those there are.",
    )
