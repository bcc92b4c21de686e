"""The documents in a control store: the wire between the laptop and the agent on the machine.

Every document carries its format, the kit that wrote it and a growing generation, so that a
reader refuses what it does not know and a waiter knows which write it waits for.
"""

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from trackstack import __version__
from trackstack.errors import TrackstackError, printable

FORMAT = 1


class Part(BaseModel):
    """Frozen data, such as a piece of a document; an unknown key is refused.

    Validators are built at first use: a command meets few of the many.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Change(Part):
    """Who wrote a document, from where and why: what its audit entry says.

    Attributes:
        who: the operating-system account, or the cloud identity.
        where: the computer's name.
        what: the change in a few words, such as 'add ada'; never a secret.
    """

    at: AwareDatetime
    who: str
    where: str
    what: str


class Document(Part):
    """A whole document under one key of the store."""

    KEY: ClassVar[str]

    format: int = FORMAT
    kit: str = __version__
    generation: int = Field(default=1, ge=1)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read a document.

        Raises:
            TrackstackError: it is corrupt, or written in a format this kit does not know.
        """
        try:
            content = json.loads(data)
            written_in = content["format"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _corrupt(cls.KEY, "it is not one of trackstack's documents") from error
        if written_in != FORMAT:
            raise TrackstackError(
                f"{cls.KEY} is in format {printable(str(written_in))}, which trackstack "
                f"{__version__} does not know; kit {printable(str(content.get('kit', 'unknown')))} "
                "wrote it.",
                "Install that version of trackstack, or a newer one.",
            )
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            place = printable(".".join(str(part) for part in first["loc"]))
            raise _corrupt(cls.KEY, f"{place}: {first['msg']}") from error

    def to_bytes(self) -> bytes:
        """The document as it is stored: JSON, the same bytes for the same content."""
        return _canonical(self.model_dump(mode="json"))


class DesiredDocument(Document):
    """A document that a person's command writes and an audit entry follows."""

    change: Change


PasswordHash = Annotated[str, StringConstraints(pattern=r"^[!-9;-~]+$", max_length=256)]


class Previous(Part):
    """A password that still opens the door for a while after a rotation."""

    hash: PasswordHash
    until: AwareDatetime


class User(Part):
    """One who may enter.

    Attributes:
        hash: the hash of the password, in a form nginx reads.
        previous: the password before the last rotation, while it is kept.
        expires: when the agent shuts this user out, or None.
    """

    hash: PasswordHash
    created: AwareDatetime
    rotated: AwareDatetime
    previous: Previous | None = None
    expires: AwareDatetime | None = None

    def may_enter(self, now: datetime) -> bool:
        """Whether this user is let in at the given time."""
        return self.expires is None or now < self.expires


UserName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._@+-]{0,127}$")]


class Users(DesiredDocument):
    """Who may enter, by name."""

    KEY: ClassVar[str] = "desired/users.json"

    users: dict[UserName, User]


class ReleaseFile(Part):
    """One file of the server.

    Attributes:
        path: relative to the machine's folder, below one of ROOTS.
        content: text.
        executable: whether it is a program; every file is for its owner only.
    """

    ROOTS: ClassVar[tuple[str, ...]] = ("nginx/", "services/")

    path: Annotated[
        str, StringConstraints(pattern=r"^(nginx|services)/[a-z0-9][a-z0-9._-]*$", max_length=80)
    ]
    content: str
    executable: bool = False


class ManagedDatabase(Part):
    """A PostgreSQL that a cloud looks after.

    Attributes:
        secret: the cloud's name of what holds its first password: an ARN, or 'projects/…'.
        admin: the first user, where the secret does not name it.
        role: MLflow's own.
        name: of the database.
    """

    secret: str
    host: str
    port: int = 5432
    admin: str = "postgres"
    role: str = "mlflow"
    name: str = "mlflow"


class Release(DesiredDocument):
    """What the machine must run; it carries no command, only files and what to check.

    Attributes:
        files: every file, in the order of their paths.
        packages: the server's Python packages: a requirements file with hashes.
        mlflow: the MLflow service's name; it listens on run/NAME.sock.
        host: the Host header that the agent's own requests to MLflow carry.
        nginx: what nginx answers on run/nginx.sock once this release's settings are live.
        url: where the machine itself reaches nginx.
        certificates: names and addresses to show a certificate of this environment's own for.
        database: one that the cloud looks after, in which MLflow's role is still to be made.
    """

    KEY: ClassVar[str] = "desired/release.json"

    files: tuple[ReleaseFile, ...]
    packages: str
    mlflow: Annotated[str, StringConstraints(pattern=r"^mlflow-[0-9a-f]{8}$")]
    host: str
    nginx: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}$")]
    url: str
    certificates: tuple[
        Annotated[
            str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=253)
        ],
        ...,
    ] = ()
    database: ManagedDatabase | None = None

    @property
    def id(self) -> str:
        """The hash of the content: two releases with one id are the same server."""
        content = self.model_dump(mode="json", exclude=set(DesiredDocument.model_fields))
        if self.database is None:  # as it was before there were any: what serves keeps its id
            del content["database"]
        return content_id(content)

    @property
    def packages_id(self) -> str:
        """The hash of the package lock, which names the folder it is installed in."""
        return content_id(self.packages)


class Cleanup(DesiredDocument):
    """What verify logged and MLflow marked as deleted: the agent removes it for good.

    `mlflow gc` takes a missing list for 'everything anybody deleted', so that none of the
    three may be empty.
    """

    KEY: ClassVar[str] = "desired/cleanup.json"

    runs: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")], ...], Field(min_length=1)
    ]
    models: Annotated[
        tuple[Annotated[str, Field(pattern=r"^m-[0-9a-f]{32}$")], ...], Field(min_length=1)
    ]
    experiment: Annotated[str, Field(pattern=r"^[0-9]{1,20}$")]


Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Agent(DesiredDocument):
    """Which agent a machine in a cloud runs; it runs nothing that has another hash.

    Attributes:
        archive: the SHA-256 of the agent's archive.
        lock: the SHA-256 of the lock of the agent's packages: a requirements file with hashes.
    """

    KEY: ClassVar[str] = "desired/agent.json"

    archive: Sha256
    lock: Sha256

    @property
    def id(self) -> str:
        """Names this agent with its packages; the machine's boot program makes the same one."""
        return f"{self.archive}.{self.lock}"

    @property
    def archive_key(self) -> str:
        """Where the archive lies in the store."""
        return f"desired/agent/{self.archive}.pyz"

    @property
    def lock_key(self) -> str:
        """Where the lock lies in the store."""
        return f"desired/agent/{self.lock}.txt"


class LogsWanted(DesiredDocument):
    """Whose log somebody wants to see, and until when.

    Attributes:
        service: 'nginx', 'mlflow', 'agent', or 'model-' and what a model is served as.
    """

    KEY: ClassVar[str] = "desired/logs.json"
    MOST_BYTES: ClassVar[int] = 64 * 1024

    service: Annotated[
        str, StringConstraints(pattern=r"^(nginx|mlflow|agent|model-[a-z0-9][a-z0-9-]{0,39})$")
    ]
    until: AwareDatetime


ModelName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
"""What a model is served as: a part of an address, of a service's name and of a socket's path."""

ModelUri = Annotated[
    str,
    StringConstraints(
        pattern=r"^(models:/(m-[0-9a-f]{32}|[^./:@\x00-\x1f\x7f][^/:@\x00-\x1f\x7f]*(/[A-Za-z0-9]+|@[A-Za-z0-9_-]+))"
        r"|runs:/[0-9a-f]{32}(/[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*)+)$",
        max_length=600,
    ),
]


class ServedModel(Part):
    """A model that is to answer at /serve/NAME/.

    Attributes:
        uri: where MLflow has it; what an alias or a stage points at is followed.
        memory_mb: how much memory its server may take.
        request_mb: how large a request's body may be.
        seconds: how long a request may take.
    """

    uri: ModelUri
    memory_mb: int = Field(default=2048, ge=256)
    request_mb: int = Field(default=16, ge=1, le=64)
    seconds: int = Field(default=60, ge=1, le=600)


class Models(DesiredDocument):
    """Which models are served, by name.

    Attributes:
        code_allowed: whether somebody agreed that models' code runs on the machine.
        trials: of which models the own code is to predict for the input example, once for each
            generation that asks; by name, the last that did.
    """

    KEY: ClassVar[str] = "desired/models.json"

    code_allowed: bool = False
    models: dict[ModelName, ServedModel]
    trials: dict[ModelName, int] = {}


class StepReport(Part):
    """One step of the agent's last round.

    Attributes:
        seconds: how long it took, or None while it runs.
        output: the tail of what it printed, when it failed.
    """

    name: str
    state: Literal["running", "done", "failed"]
    seconds: float | None = None
    problem: str | None = None
    output: str | None = None


class Applied(Part):
    """The generation of each desired document that holds on the machine now; 0 for none."""

    release: int = 0
    users: int = 0
    cleanup: int = 0


class Patches(Part):
    """How far the updates of a machine's operating system have got.

    Attributes:
        last: since when something may be missing: the last time that all there was to install was
            installed by itself; None before the first time.
        reboot_pending: whether what was installed holds only after a restart, such as a kernel.
    """

    last: AwareDatetime | None
    reboot_pending: bool


class Observed(Document):
    """What a machine says of itself.

    Attributes:
        machine: the machine's id, which also names the document.
        boot: which boot of the machine, so that a restart shows.
        seen: the generations the last round worked on, applied or not.
        healthy: whether the last round ended well.
        release_id: the release that serves now.
        versions: of what runs there, by name.
        heartbeat: when this was written.
        agent: the id of the agent that writes this; None where the kit's own Python runs it.
        agent_problem: why the wanted agent is not the one that runs, or None.
        patches: of the operating system; None where that is not the kit's to look after, and of
            an agent that does not tell.
        models: what nginx finds a model's server for, by name.
    """

    KEY: ClassVar[str] = "observed/machines/ID.json"

    machine: str
    boot: str
    healthy: bool
    seen: Applied
    applied: Applied
    release_id: str | None
    versions: dict[str, str]
    steps: tuple[StepReport, ...]
    heartbeat: AwareDatetime
    agent: str | None = None
    agent_problem: str | None = None
    patches: Patches | None = None
    models: tuple[str, ...] = ()

    def failed_step(self) -> StepReport | None:
        """The step that failed in the last round."""
        return next((step for step in self.steps if step.state == "failed"), None)


class Seen(Document):
    """When users were last let in, as far back as the machine's log of requests goes."""

    KEY: ClassVar[str] = "observed/seen.json"

    users: dict[UserName, AwareDatetime]


class ModelReport(Part):
    """How a served model does.

    Attributes:
        version: of the registry, or the run's or logged model's id; None while none answers.
        state: 'failed' also while an older version answers, when a newer one could not be taken up.
        doing: what is being done towards another version, or None.
        reason: why it failed, in a sentence.
        requests: how many were asked, as far back as the log of requests goes.
        p50_ms: the median of the last ones' time, in milliseconds.
        memory_bytes: what its server has in memory.
        desired: the generation of the document that this is about.
        uri: what it is served from.
    """

    desired: int
    uri: str
    version: str | None = None
    state: Literal["preparing", "serving", "failed"] = "preparing"
    doing: str | None = None
    healthy: bool = False
    reason: str | None = None
    requests: int = 0
    p50_ms: float | None = None
    memory_bytes: int | None = None


class ModelTrial(Part):
    """What a served model's own code predicts, apart from its server.

    Attributes:
        desired: the generation of the document that asked for it.
        version: of the model; see ModelReport.
        example: its input example as it is sent; None when it was logged without one.
        prediction: what came of it.
        problem: why there is none, in a sentence.
    """

    desired: int
    version: str
    example: Any = None
    prediction: Any = None
    problem: str | None = None


class ObservedModels(Document):
    """What a machine says of the models it serves.

    Attributes:
        desired: the generation of the document it works on.
        walls: whether models' code is shut off from the rest of the machine.
        trials: the last one of each model that was asked for.
    """

    KEY: ClassVar[str] = "observed/models.json"

    desired: int
    walls: bool
    heartbeat: AwareDatetime
    models: dict[ModelName, ModelReport]
    trials: dict[ModelName, ModelTrial] = {}


AUTHORITIES_KEY = "observed/ca.pem"
"""The certificates of the environment's own authorities: what its clients have to trust."""


def observed_key(machine: str) -> str:
    """Where a machine's report lies in the store."""
    return f"observed/machines/{machine}.json"


def logs_key(service: str) -> str:
    """Where the tail of a service's log lies in the store while somebody looks."""
    return f"observed/logs/{service}.log"


def audit_key(document: DesiredDocument) -> str:
    """Where the audit entry of this very write lies: one entry for each generation."""
    name = document.KEY.removeprefix("desired/").removesuffix(".json")
    return f"audit/{document.change.at:%Y-%m-%d}/{name}-{document.generation:08}.json"


def audit_entry(document: DesiredDocument) -> bytes:
    """The audit entry of a write, the same bytes whoever makes it."""
    return _canonical(
        {
            "format": FORMAT,
            "kit": document.kit,
            "document": document.KEY,
            "generation": document.generation,
            **document.change.model_dump(mode="json"),
        }
    )


def content_id(content: Any) -> str:
    """The first 16 hex digits of the SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(_canonical(content)).hexdigest()[:16]


def expiries(users: Users) -> Iterator[datetime]:
    """When a user's time, or a previous password's, runs out, in no order."""
    for user in users.users.values():
        if user.expires is not None:
            yield user.expires
        if user.previous is not None:
            yield user.previous.until


def _canonical(content: Any) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _corrupt(key: str, why: str) -> TrackstackError:
    return TrackstackError(
        f"{key} in the control store is damaged ({why}).",
        "Put back an earlier copy of that file; nothing was changed.",
    )
