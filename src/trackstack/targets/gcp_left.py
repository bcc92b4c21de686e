"""What an environment has in a Google Cloud project, by Google's word and not by the state's."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from trackstack.cloud_plan import ENVIRONMENT_LABEL
from trackstack.place import Place
from trackstack.targets.account import Say, Unfinished
from trackstack.targets.base import Kept
from trackstack.targets.gcp_api import Api, ApiError

_COMPUTE = {
    "gcp:compute/network:Network": "projects/{project}/global/networks/{name}",
    "gcp:compute/subnetwork:Subnetwork": "projects/{project}/regions/{region}/subnetworks/{name}",
    "gcp:compute/firewall:Firewall": "projects/{project}/global/firewalls/{name}",
    "gcp:compute/address:Address": "projects/{project}/regions/{region}/addresses/{name}",
    "gcp:compute/globalAddress:GlobalAddress": "projects/{project}/global/addresses/{name}",
    "gcp:compute/instance:Instance": "projects/{project}/zones/{zone}/instances/{name}",
    "gcp:compute/disk:Disk": "projects/{project}/zones/{zone}/disks/{name}",
    "gcp:compute/resourcePolicy:ResourcePolicy": (
        "projects/{project}/regions/{region}/resourcePolicies/{name}"
    ),
}
"""Types of Compute Engine, with the id that is also their place in its interface."""

_LABELLED = ("instances", "disks", "addresses", "snapshots")


def find(api: Api, place: Place, left: Unfinished) -> str | None:
    """The id of something that a killed run may have made, or None.

    Of the types that are not looked for, making one again sets it again.
    """
    given: Mapping[str, Any] = {
        "region": place.region,
        "project": place.account,
        **{key: value for key, value in left.inputs.items() if isinstance(value, str)},
    }
    if left.type in _COMPUTE:
        id_ = _COMPUTE[left.type].format_map(given)
        return id_ if api.found("compute", id_) else None
    if left.type == "gcp:storage/bucket:Bucket":
        name = given["name"]
        return str(name) if api.found("storage", f"b/{name}") else None
    if left.type == "gcp:serviceaccount/account:Account":
        email = f"{given['accountId']}@{place.account}.iam.gserviceaccount.com"
        id_ = f"projects/{place.account}/serviceAccounts/{email}"
        return id_ if api.found("iam", id_) else None
    if left.type == "gcp:secretmanager/secret:Secret":
        id_ = f"projects/{place.account}/secrets/{given['secretId']}"
        return id_ if api.found("secret_manager", id_) else None
    if left.type == "gcp:sql/databaseInstance:DatabaseInstance":
        name = given["name"]
        there = api.found("sql", f"projects/{place.account}/instances/{name}")
        return str(name) if there else None
    return None


def labelled(api: Api, place: Place, environment: str) -> Iterator[Kept]:
    """All that carries the environment's label."""
    why = f"it carries the label of {environment!r}"
    label = f"labels.{ENVIRONMENT_LABEL}={environment}"
    for kind in _LABELLED:
        for each in _compute(api, place.account, kind, label):
            path = each["selfLink"].partition("/projects/")[2]
            yield Kept(name=f"projects/{path}", why=why, how=_how(kind, each))
    for bucket in api.pages("storage", "b", "items", project=place.account):
        if bucket.get("labels", {}).get(ENVIRONMENT_LABEL) == environment:
            name = bucket["name"]
            how = f"gcloud storage rm --recursive --all-versions gs://{name}"
            yield Kept(name=f"gs://{name}", why=why, how=how)
    for secret in api.pages(
        "secret_manager", f"projects/{place.account}/secrets", "secrets", filter=label
    ):
        how = f"gcloud secrets delete {secret['name'].rpartition('/')[2]}"
        yield Kept(name=secret["name"], why=why, how=how)
    for database in api.pages("sql", f"projects/{place.account}/instances", "items"):
        labels = database.get("settings", {}).get("userLabels", {})
        if labels.get(ENVIRONMENT_LABEL) == environment:
            how = f"gcloud sql instances delete {database['name']}"
            yield Kept(name=database["name"], why=why, how=how)


def instance(api: Api, project: str, machine: str) -> dict[str, Any] | None:
    """A machine by its number, wherever in the project it is."""
    return next(_compute(api, project, "instances", f"id={machine}"), None)


def remove_versions(
    api: Api, bucket: str, prefix: str, *, whole_name: bool = False, say: Say = lambda _: None
) -> None:
    """Remove every version of every object below a prefix.

    Args:
        api: as whom.
        bucket: which; one that is gone is fine.
        prefix: names begin so.
        whole_name: the prefix is a file's or folder's whole name, before '.', '/' or nothing.
        say: told how many are gone so far.
    """
    gone = 0
    for each in list(
        api.pages("storage", f"b/{bucket}/o", "items", prefix=prefix, versions="true")
    ):
        if whole_name and each["name"][len(prefix) :][:1] not in ("", ".", "/"):
            continue
        name = quote(each["name"], safe="")
        api.delete("storage", f"b/{bucket}/o/{name}?generation={each['generation']}")
        gone += 1
        if gone % 100 == 0:
            say(f"{gone:,} objects removed from {bucket}")
    if gone:
        say(f"{gone:,} objects removed from {bucket}")


def _compute(api: Api, project: str, kind: str, condition: str) -> Iterator[dict[str, Any]]:
    """Of one kind, in every zone and region; nothing where the interface is not enabled."""
    try:
        if kind == "snapshots":
            path = f"projects/{project}/global/snapshots"
            yield from api.pages("compute", path, "items", filter=condition)
            return
        path = f"projects/{project}/aggregated/{kind}"
        for _, inside in api.pages("compute", path, "items", filter=condition):
            yield from inside.get(kind, [])
    except ApiError as error:
        if error.status != 403:
            raise


def _how(kind: str, each: Mapping[str, Any]) -> str:
    words = {
        "instances": "compute instances",
        "disks": "compute disks",
        "addresses": "compute addresses",
        "snapshots": "compute snapshots",
    }
    place = ""
    for where in ("zone", "region"):
        if each.get(where):
            place = f" --{where} {each[where].rpartition('/')[2]}"
    return f"gcloud {words[kind]} delete {each['name']}{place}"
