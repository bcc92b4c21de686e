"""Finds the credentials of an outer database or bucket: in this shell, or in its tools' files."""

from collections.abc import Mapping
from pathlib import Path

from trackstack.errors import UsageError
from trackstack.spec import ComposeStores, Stores

_AWS_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_AWS_PLACES = ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_CA_BUNDLE")
_AWS_FILES = {
    "AWS_SHARED_CREDENTIALS_FILE": Path(".aws/credentials"),
    "AWS_CONFIG_FILE": Path(".aws/config"),
}
_AWS = (*_AWS_KEYS, *_AWS_PLACES, *_AWS_FILES, "AWS_PROFILE")
_POSTGRESQL = ("PGPASSWORD", "PGPASSFILE")
_GOOGLE = ("GOOGLE_APPLICATION_CREDENTIALS",)

AnyStores = Stores | ComposeStores


def find(
    stores: AnyStores, environ: Mapping[str, str], home: Path, kept: Mapping[str, str]
) -> dict[str, str]:
    """What the server needs to open its stores.

    Args:
        stores: which ones.
        environ: this shell's variables.
        home: where tools keep their files.
        kept: what the server has been given before for these stores. It goes before what lies in
            the tools' usual places, which nobody has named.

    Returns:
        Environment variables for the server: secrets, or the paths of files that hold them.

    Raises:
        UsageError: there are none for one of the stores.
    """
    found: dict[str, str] = {}
    if stores.database:
        found |= _postgresql(environ, home, kept)
    if stores.artifacts and stores.artifacts.startswith("s3:"):
        found |= _s3(environ, home, kept)
    if stores.artifacts and stores.artifacts.startswith("gs:") and not stores.artifacts_endpoint:
        found |= _gcs(environ, home, kept)
    return found


def of_same(kept: Mapping[str, str], before: AnyStores, after: AnyStores) -> dict[str, str]:
    """Of the credentials given before, those of stores that stay: no other gets to see them."""
    names: set[str] = set()
    if before.database == after.database:
        names |= set(_POSTGRESQL)
    if (before.artifacts, before.artifacts_endpoint) == (after.artifacts, after.artifacts_endpoint):
        names |= {*_AWS, *_GOOGLE}
    return {name: value for name, value in kept.items() if name in names}


def _postgresql(environ: Mapping[str, str], home: Path, kept: Mapping[str, str]) -> dict[str, str]:
    if "PGPASSWORD" in environ:
        return {"PGPASSWORD": environ["PGPASSWORD"]}
    file = Path(environ.get("PGPASSFILE", home / ".pgpass"))
    return _first(
        {"PGPASSFILE": str(file.absolute())} if file.is_file() else {},
        _of(kept, _POSTGRESQL),
        named="PGPASSFILE" in environ,
        problem="There is no password for the database.",
        way_out=f"Set PGPASSWORD for this command, or enter it in {home / '.pgpass'}.",
    )


def _s3(environ: Mapping[str, str], home: Path, kept: Mapping[str, str]) -> dict[str, str]:
    places = _of(environ, _AWS_PLACES)
    if "AWS_ACCESS_KEY_ID" in environ:
        return {**_of(environ, _AWS_KEYS), **places}
    there = {name: Path(environ.get(name, home / file)) for name, file in _AWS_FILES.items()}
    profile = {name: str(file.absolute()) for name, file in there.items() if file.is_file()}
    return _first(
        {**profile, **_of(environ, ("AWS_PROFILE",)), **places} if profile else {},
        _of(kept, _AWS),
        named=any(name in environ for name in ("AWS_PROFILE", *_AWS_FILES)),
        problem="There are no credentials for the bucket.",
        way_out="Set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY here.",
    )


def _gcs(environ: Mapping[str, str], home: Path, kept: Mapping[str, str]) -> dict[str, str]:
    default = home / ".config" / "gcloud" / "application_default_credentials.json"
    file = Path(environ.get("GOOGLE_APPLICATION_CREDENTIALS", default))
    return _first(
        {"GOOGLE_APPLICATION_CREDENTIALS": str(file.absolute())} if file.is_file() else {},
        _of(kept, _GOOGLE),
        named="GOOGLE_APPLICATION_CREDENTIALS" in environ,
        problem="There are no credentials for the bucket.",
        way_out="Run `gcloud auth application-default login`, or set its variable here.",
    )


def _first(
    filed: dict[str, str], before: dict[str, str], *, named: bool, problem: str, way_out: str
) -> dict[str, str]:
    """Files that this shell names, what was given before, or files where tools leave them."""
    if not (filed or before):
        raise UsageError(problem, way_out)
    return filed if filed and (named or not before) else before


def _of(values: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    return {name: values[name] for name in names if name in values}
