"""Where credentials of an outer database or bucket are found, and in which order."""

from pathlib import Path

import pytest

from trackstack.errors import UsageError
from trackstack.operations.store_credentials import find, of_same
from trackstack.spec import Stores

DATABASE = Stores(database="postgresql://mlflow@db/runs")
S3 = Stores(artifacts="s3://bucket/folder")
GCS = Stores(artifacts="gs://bucket")


def test_the_servers_own_folder_needs_none(tmp_path: Path) -> None:
    assert find(Stores(), {"PGPASSWORD": "x", "AWS_ACCESS_KEY_ID": "y"}, tmp_path, {}) == {}


def test_a_password_in_this_shell_goes_before_the_file_and_the_kept_one(tmp_path: Path) -> None:
    (tmp_path / ".pgpass").write_text("db:5432:runs:mlflow:filed")
    found = find(DATABASE, {"PGPASSWORD": "said"}, tmp_path, {"PGPASSWORD": "kept"})
    assert found == {"PGPASSWORD": "said"}


def test_the_postgresql_clients_own_file_is_named_not_copied(tmp_path: Path) -> None:
    (tmp_path / ".pgpass").write_text("db:5432:runs:mlflow:filed")
    assert find(DATABASE, {}, tmp_path, {}) == {"PGPASSFILE": str(tmp_path / ".pgpass")}


def test_what_was_given_once_is_kept(tmp_path: Path) -> None:
    assert find(DATABASE, {}, tmp_path, {"PGPASSWORD": "kept"}) == {"PGPASSWORD": "kept"}


KEPT = [
    # stores, file in the home folder, given before, a variable that names a file
    (DATABASE, ".pgpass", {"PGPASSWORD": "kept"}, "PGPASSFILE"),
    (S3, ".aws/credentials", {"AWS_ACCESS_KEY_ID": "kept"}, "AWS_SHARED_CREDENTIALS_FILE"),
    (
        GCS,
        ".config/gcloud/application_default_credentials.json",
        {"GOOGLE_APPLICATION_CREDENTIALS": "/kept.json"},
        "GOOGLE_APPLICATION_CREDENTIALS",
    ),
]


@pytest.mark.parametrize(("stores", "usual", "kept", "variable"), KEPT)
def test_what_was_given_before_goes_before_a_file_that_nobody_named(
    tmp_path: Path, stores: Stores, usual: str, kept: dict[str, str], variable: str
) -> None:
    file = tmp_path / usual
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("db:5432:runs:mlflow:filed")
    assert find(stores, {}, tmp_path, kept) == kept
    assert find(stores, {variable: str(file)}, tmp_path, kept) == {variable: str(file)}


OTHERS = [
    # the stores of before, those asked now, whose credentials stay
    (Stores(database="postgresql://a@b/c"), Stores(database="postgresql://a@b/c"), {"PGPASSWORD"}),
    (Stores(database="postgresql://a@b/c"), Stores(database="postgresql://a@d/c"), set()),
    (S3, S3, {"AWS_PROFILE"}),
    (S3, GCS, set()),
    (S3, Stores(artifacts=S3.artifacts, artifacts_endpoint="https://elsewhere"), set()),
]


@pytest.mark.parametrize(("before", "after", "stay"), OTHERS)
def test_credentials_of_one_store_are_not_shown_to_another(
    before: Stores, after: Stores, stay: set[str]
) -> None:
    given = {"PGPASSWORD": "x"} if before.database else {"AWS_PROFILE": "team"}
    assert set(of_same(given, before, after)) == stay


def test_keys_in_this_shell_are_taken_with_region_and_session(tmp_path: Path) -> None:
    said = {
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "key",
        "AWS_SESSION_TOKEN": "token",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }
    assert find(S3, {**said, "AWS_PAGER": "less"}, tmp_path, {}) == said


def test_a_profile_is_named_with_the_files_it_stands_in(tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text("[team]")
    assert find(S3, {"AWS_PROFILE": "team"}, tmp_path, {}) == {
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / ".aws" / "credentials"),
        "AWS_PROFILE": "team",
    }


def test_googles_default_credentials_are_found_where_gcloud_leaves_them(tmp_path: Path) -> None:
    file = tmp_path / ".config" / "gcloud" / "application_default_credentials.json"
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    assert find(GCS, {}, tmp_path, {}) == {"GOOGLE_APPLICATION_CREDENTIALS": str(file)}


@pytest.mark.parametrize(
    ("stores", "way_out"),
    [(DATABASE, "PGPASSWORD"), (S3, "AWS_PROFILE"), (GCS, "gcloud auth")],
    ids=["postgresql", "s3", "gcs"],
)
def test_without_any_the_way_to_give_them_is_told(
    tmp_path: Path, stores: Stores, way_out: str
) -> None:
    with pytest.raises(UsageError) as caught:
        find(stores, {}, tmp_path, {})
    assert way_out in (caught.value.hint or "")
