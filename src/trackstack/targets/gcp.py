"""A Google Cloud project, through its own API: identity, state bucket, key, look-ups."""

import base64
import hmac
import os
import re
from collections.abc import Iterator
from functools import cached_property
from secrets import token_urlsafe
from typing import Any

from google.cloud import storage
from pydantic import SecretStr

from trackstack import names, spec
from trackstack.cloud_plan import KIT, Gcp, bucket_name
from trackstack.control.gcs import GcsStore
from trackstack.errors import TrackstackError, UsageError
from trackstack.place import Place
from trackstack.plan import Plan
from trackstack.targets import gcp_left, gcp_permissions
from trackstack.targets.account import Say, Snapshot, Unfinished
from trackstack.targets.base import Kept
from trackstack.targets.gcp_api import Api, ApiError, credentials
from trackstack.targets.gcp_machines import architecture, image, machine_kind, zone

_RECORD = re.compile(r"environments/([a-z0-9-]+)/record\.json")
_REGION_VARIABLES = ("GOOGLE_REGION", "CLOUDSDK_COMPUTE_REGION")
_PROJECT_VARIABLES = ("GOOGLE_PROJECT", "GOOGLE_CLOUD_PROJECT", "CLOUDSDK_CORE_PROJECT")


def locate(region: str | None, profile: str | None, wanted: str | None = None) -> Place:
    """Where these credentials lead.

    Args:
        region: as asked; the shell's when None.
        profile: there are none of Google Cloud.
        wanted: the project, or None for the credentials' own.

    Raises:
        UsageError: no region or project is known, or there is none of that name.
        MissingError: there are no credentials.
        TrackstackError: they do not work.
    """
    if profile is not None:
        raise UsageError("Profiles are AWS's.", "Google Cloud takes the project by `--project`.")
    found, own = credentials()
    project = wanted or _first(_PROJECT_VARIABLES) or own
    if project is None:
        raise UsageError("No Google Cloud project is known.", "Say `--project`.")
    place = region or _first(_REGION_VARIABLES)
    if place is None:
        raise UsageError("No Google Cloud region is known.", "Say `--region`, such as us-central1.")
    try:
        Api(found).get("resource_manager", f"projects/{project}")
    except ApiError as error:
        if error.status in {403, 404}:
            raise UsageError(
                f"These credentials see no Google Cloud project {project!r}.",
                "Say another with `--project`, or sign in as somebody who may see it.",
            ) from error
        raise
    who = getattr(found, "service_account_email", None) or "the application-default credentials"
    return Place(target="gcp", account=project, region=place, who=str(who))


def account(place: Place) -> "GcpAccount":
    """The project at a place."""
    return GcpAccount(place)


class GcpAccount:
    """One project and region; see Account."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def state(self) -> GcsStore:
        """The state bucket; see Account."""
        return GcsStore(self._state_bucket, self._storage)

    def has_state(self) -> bool:
        """Whether the state bucket is there; see Account."""
        return self._api.found("storage", f"b/{self._state_bucket}") is not None

    def ensure_state(self) -> None:
        """Have it, closed from the first moment: one request makes it with all settings."""
        if self.has_state():
            return
        self._api.post(
            "storage",
            "b",
            {
                "name": self._state_bucket,
                "location": self.place.region,
                "labels": {"managed-by": KIT},
                "versioning": {"enabled": True},
                "iamConfiguration": {
                    "uniformBucketLevelAccess": {"enabled": True},
                    "publicAccessPrevention": "enforced",
                },
            },
            project=self.place.account,
        )

    def names(self) -> list[str]:
        """The environments on record; see Account."""
        if not self.has_state():
            return []
        found = (_RECORD.fullmatch(key) for key in self.state().list("environments/"))
        return sorted(each[1] for each in found if each)

    def backend(self) -> str:
        """The state bucket as the engine writes it; see Account."""
        return f"gs://{self._state_bucket}"

    def control(self, environment: str) -> GcsStore:
        """An environment's control bucket; see Account."""
        name = bucket_name(environment, self._number, self.place.region, "control")
        return GcsStore(name, self._storage)

    def key(self, environment: str, make: bool) -> SecretStr | None:
        """The key in Secret Manager; see Account."""
        secret = f"projects/{self.place.account}/secrets/{KIT}-{environment}-key"
        for _ in range(2):
            found = self._api.found("secret_manager", f"{secret}/versions/latest:access")
            if found is not None:
                return SecretStr(base64.b64decode(found["payload"]["data"]).decode())
            if not make:
                return None
            self._make_secret(environment, secret)
        return None

    def forget(self, environment: str) -> None:
        """Remove key, record and state; the state bucket stays. See Account."""
        gcp_left.remove_versions(self._api, self._state_bucket, f"environments/{environment}/")
        for folder in ("stacks", "history", "backups"):
            gcp_left.remove_versions(
                self._api,
                self._state_bucket,
                f".pulumi/{folder}/{KIT}/{environment}",
                whole_name=True,
            )
        secret = f"projects/{self.place.account}/secrets/{KIT}-{environment}-key"
        self._api.delete("secret_manager", secret)

    def engine_variables(self) -> dict[str, str]:
        """The application-default credentials stay where they are; see Account."""
        emulator = os.environ.get("STORAGE_EMULATOR_HOST", "")
        # The engine wants HOST:PORT where Python's client wants an address.
        named = {"STORAGE_EMULATOR_HOST": emulator.partition("//")[2]} if emulator else {}
        return {"GOOGLE_PROJECT": self.place.account, "GOOGLE_REGION": self.place.region, **named}

    def program_secrets(self, plan: Gcp) -> dict[str, SecretStr]:
        """The database's first password; see Account.

        From the environment's key, so that a run that goes on after a kill has the same one.
        """
        key = self.key(plan.environment, make=False) if plan.database else None
        if plan.database is None or key is None:
            return {}
        about = f"database-password-{plan.database.password_version}"
        made = hmac.digest(key.get_secret_value().encode(), about.encode(), "sha256")
        return {"database_password": SecretStr(base64.urlsafe_b64encode(made).decode())}

    def decided(self, content: dict[str, Any], recorded: Plan | None) -> dict[str, Any]:
        """Project, its number, region, zone, image and workers; see Account."""
        machine, server = dict(content["machine"]), dict(content["server"])
        before = recorded.cloud.machine_type if recorded and recorded.cloud else None
        asked = content.get("project") or self.place.account
        if asked != self.place.account:
            raise UsageError(
                f"The environment is for the Google Cloud project {asked}, not for "
                f"{self.place.account}.",
                f"Say `--project {asked}`.",
            )
        found = {**content, "project": asked, "region": content["region"] or self.place.region}
        if found["project_number"] is None:
            found["project_number"] = self._number
        if None not in (machine["image"], server["workers"], content["zone"]) and (
            before in (None, machine["type"])
        ):
            return found
        if found["zone"] is None:
            found["zone"] = zone(self._api, asked, found["region"], machine["type"])
        kind = machine_kind(self._api, asked, found["zone"], machine["type"])
        if machine["image"] is None or (
            before not in (None, machine["type"])
            and architecture(self._api, machine["image"]) not in (None, kind.architecture)
        ):
            machine["image"] = image(self._api, kind.architecture)
        if server["workers"] is None:
            server["workers"] = spec.default_workers(kind.cores, kind.memory)
        return {**found, "machine": machine, "server": server}

    def denied(self, plan: Gcp) -> list[str]:
        """By the project's own test of permissions; see Account."""
        return gcp_permissions.denied(self._api, plan)

    def request(self, plan: Gcp) -> str:
        """The deployer's role, and what may be given instead; see Account."""
        return gcp_permissions.request(self.place.who, plan)

    def policy(self, whose: str, plan: Gcp) -> str:
        """A role, or bindings, as gcloud takes them; see Account."""
        return gcp_permissions.policy(whose, plan)

    def room_problem(self, plan: Gcp) -> str | None:
        """A machine type that is not there, or does not go with the image; see Account."""
        kind = machine_kind(self._api, plan.project, plan.zone, plan.machine_type)
        fits = architecture(self._api, plan.image)
        if fits not in (None, kind.architecture):
            return (
                f"The machine type {plan.machine_type} is of the kind {kind.architecture}, and the "
                f"image {plan.image} of {fits}."
            )
        return None

    def find(self, left: Unfinished) -> str | None:
        """By its name, which the plan gives; see Account."""
        return gcp_left.find(self._api, self.place, left)

    def running(self, machine: str) -> bool:
        """Whether Compute Engine says so; see Account."""
        found = gcp_left.instance(self._api, self.place.account, machine)
        return found is not None and found["status"] in {"RUNNING", "PROVISIONING", "STAGING"}

    def console(self, machine: str) -> str:
        """The serial port's output; see Account."""
        found = gcp_left.instance(self._api, self.place.account, machine)
        if found is None:
            return ""
        where = found["zone"].rpartition("/")[2]
        path = f"projects/{self.place.account}/zones/{where}/instances/{found['name']}/serialPort"
        return str(self._api.get("compute", path).get("contents", ""))

    def stored_bytes(self, bucket: str) -> int:
        """The newest versions together; see Account."""
        pages = self._api.pages(
            "storage", f"b/{bucket}/o", "items", fields="items/size,nextPageToken"
        )
        return sum(int(each["size"]) for each in pages)

    def empty(self, bucket: str, say: Say) -> None:
        """Every version; see Account."""
        gcp_left.remove_versions(self._api, bucket, "", say=say)

    def snapshots(self, _environment: str) -> list[Snapshot]:
        """A database that is kept is kept whole, stopped: there is none. See Account."""
        return []

    def left(self, environment: str) -> Iterator[Kept]:
        """By label, from every service that has labels; see Account."""
        yield from gcp_left.labelled(self._api, self.place, environment)

    def _make_secret(self, environment: str, secret: str) -> None:
        parent, _, name = secret.rpartition("/secrets/")
        region = {"replicas": [{"location": self.place.region}]}
        labels = {"managed-by": KIT, "trackstack-environment": names.fitted(environment, 63)}
        try:
            self._api.post(
                "secret_manager",
                f"{parent}/secrets",
                {"replication": {"userManaged": region}, "labels": labels},
                secretId=name,
            )
        except ApiError as error:
            if error.status != 409:  # a killed command made it, and nothing in it
                raise
        data = base64.b64encode(token_urlsafe(32).encode()).decode()
        self._api.post("secret_manager", f"{secret}:addVersion", {"payload": {"data": data}})

    @cached_property
    def _api(self) -> Api:
        return Api(self._credentials)

    @cached_property
    def _credentials(self) -> Any:
        return credentials()[0]

    @cached_property
    def _storage(self) -> Any:
        return storage.Client(project=self.place.account, credentials=self._credentials)

    @cached_property
    def _number(self) -> str:
        found = self._api.get("resource_manager", f"projects/{self.place.account}")
        number = found.get("projectNumber")
        if not number:
            raise TrackstackError(f"Google Cloud tells no number of project {self.place.account}.")
        return str(number)

    @property
    def _state_bucket(self) -> str:
        return f"{KIT}-state-{self._number}-{self.place.region}"


def _first(variables: tuple[str, ...]) -> str | None:
    return next((os.environ[name] for name in variables if os.environ.get(name)), None)
