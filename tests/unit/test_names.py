"""Names: what people use is taken, what would break a path or a password file is not."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackstack import names

USERS = ["ada", "ada.l", "ada@example.com", "a", "0", "a_b", "a+b", "a-b", "a..b", "a" * 64]
NOT_USERS = [
    ("", "'ada', 'ada.l' or 'ada@example.com'"),
    ("Ada", "'ada'"),
    ("Ada Lovelace", "'adalovelace'"),
    (".ada", "'ada'"),
    ("-ada", "'ada'"),
    ("../ada", "'ada'"),
    ("ada/../../etc", "'ada....etc'"),
    ("ada:x", "'adax'"),
    ("ada\n", "'ada'"),
    ("a" * 65, f"'{'a' * 64}'"),
    ("Ж", "'ada', 'ada.l' or 'ada@example.com'"),
]
NOT_ENVIRONMENTS = [
    "",
    "Team",
    "1team",
    "-team",
    "team-",
    "te_am",
    "a" * 32,
    "a/b",
    "a.b",
    "team\n",
]


@pytest.mark.parametrize("name", USERS)
def test_a_name_as_people_use_it_is_taken(name: str) -> None:
    assert names.user(name) == name


@pytest.mark.parametrize(("name", "suggested"), NOT_USERS)
def test_another_name_is_refused_with_one_that_fits(name: str, suggested: str) -> None:
    with pytest.raises(ValueError, match="is not a name for a user") as refused:
        names.user(name)
    assert repr(name) in str(refused.value)
    assert str(refused.value).endswith(f"such as {suggested}")


def test_a_name_like_the_kits_own_users_is_refused_and_never_suggested() -> None:
    with pytest.raises(ValueError, match="kit's own"):
        names.user("trackstack.verify.1")
    with pytest.raises(ValueError, match=r"'ada', 'ada\.l'"):
        names.user("Trackstack.Verify")


@given(st.text(max_size=80))
def test_whatever_is_typed_a_taken_name_is_safe_in_a_path_and_in_a_password_file(
    typed: str,
) -> None:
    try:
        taken = names.user(typed)
    except ValueError:
        return
    assert taken == typed
    assert typed not in (".", "..")
    assert not re.search(r"[/:\s\0]", typed)
    assert typed == typed.lower()


@given(st.text(max_size=100))
def test_every_account_gives_the_first_user_a_name_that_fits(account: str) -> None:
    assert names.user(names.user_from_account(account))


def test_an_account_that_holds_no_letter_gives_admin() -> None:
    assert names.user_from_account("Ж…") == "admin"


@pytest.mark.parametrize("name", ["local", "a", "team-a", "t0", "a" * 31])
def test_an_environment_may_be_called(name: str) -> None:
    assert names.environment(name) == name


@pytest.mark.parametrize("name", NOT_ENVIRONMENTS)
def test_an_environment_may_not_be_called(name: str) -> None:
    with pytest.raises(ValueError, match="such as 'team-a'") as refused:
        names.environment(name)
    assert repr(name) in str(refused.value)


@given(st.from_regex(r"[a-zA-Z0-9_./-]{0,40}", fullmatch=True))
def test_a_taken_environment_is_one_short_label_of_a_host_name(typed: str) -> None:
    try:
        taken = names.environment(typed)
    except ValueError:
        return
    assert re.fullmatch(r"[a-z][a-z0-9-]*", taken)
    assert not taken.endswith("-")
    assert len(taken) <= 31


def test_a_slip_of_the_finger_leads_to_the_known_name() -> None:
    assert names.nearest("tema-a", ["team-a", "other"]) == "team-a"
    assert names.nearest("xyz", ["team-a", "other"]) is None


PLACES = [
    # rule, what was typed, what it is read as
    (names.address, "127.0.0.1", "127.0.0.1"),
    (names.address, "0.0.0.0", "0.0.0.0"),
    (names.address, "192.168.1.20", "192.168.1.20"),
    (names.host, "gpu1", "gpu1"),
    (names.host, "MLflow.Example.COM", "mlflow.example.com"),
    (names.host, "192.168.1.20", "192.168.1.20"),
    (names.host, "xn--bcher-kva.example", "xn--bcher-kva.example"),
    (names.host, "a" * 63 + ".example", "a" * 63 + ".example"),
    (names.host, "3com.example", "3com.example"),
    (names.network, "10.0.0.0/24", "10.0.0.0/24"),
    (names.network, "10.0.0.5", "10.0.0.5/32"),
    (names.pem_file, "/etc/ssl/mlflow.pem", "/etc/ssl/mlflow.pem"),
    (names.pem_file, "/home/jürgen/my certificates; new/{a}.pem", None),
    (names.database, "postgresql://mlflow@db/runs", None),
    (names.database, "postgresql://mlflow@db.example.com:5433/runs", None),
    (names.database, "postgresql://mlflow@[fd00::1]:5432/runs", None),
    (names.database, "postgresql://ml%40flow@db/r%2Fns?sslmode=verify-full", None),
    (names.artifacts, "s3://bucket", None),
    (names.artifacts, "s3://my.bucket-1/folder/more", None),
    (names.artifacts, "gs://bucket_of_mine/team=a", None),
    (names.endpoint, "https://s3.example.com", None),
    (names.endpoint, "http://10.0.0.7:9000/", None),
    (names.requirement, "boto3", None),
    (names.requirement, "boto3 >= 1.40, <2", "boto3<2,>=1.40"),
    (names.requirement, "mlflow-export-import", None),
    (names.requirement, "Mlflow-Skinny", "Mlflow-Skinny"),
]
NOT_PLACES = [
    # rule, what was typed, a word of what would be right
    *((names.address, typed, "such as '127.0.0.1'") for typed in (
        "", "localhost", "::1", "0.0.0.0/0", "127.0.0.2", "224.0.0.1", "1.2.3", "01.2.3.4", "8080",
        "127.0.0.1\n", "127.0.0.1:80",
    )),
    *((names.host, typed, "mlflow.example.com") for typed in (
        "", ".", "a.", ".a", "a..b", "-a", "a-", "a_b", "a b", "a:1", "https://a", "*.a", "1.2.3",
        "256.1.1.1", "a/b", "a;b", "a\n", "Ж", "\uff41", "a" * 64, "::1", ".".join(["a" * 60] * 5),
    )),
    *((names.network, typed, "10.0.0.0/24") for typed in (
        "", "10.0.0.5/24", "10.0.0.0/33", "fd00::/8", "gpu1", "10.0.0.0/24\n", "any",
    )),
    *((names.pem_file, typed, "/etc/ssl/mlflow.pem") for typed in (
        "", "mlflow.pem", "./mlflow.pem", "~/mlflow.pem", "/a\"b", "/a$b", "/a\\b", "/a\nb",
    )),
    *((names.database, typed, "postgresql://user@host:5432/name") for typed in (
        "", "runs", "postgresql://db/runs", "postgresql://mlflow@/runs", "postgresql://mlflow@db",
        "postgresql://mlflow@db/", "mysql://mlflow@db/runs", "postgres://mlflow@db/runs",
        "postgresql+psycopg2://mlflow@db/runs", "postgresql://mlflow@db:port/runs",
        "postgresql://mlflow@db:99999/runs", "postgresql://mlflow@[db/runs",
        "postgresql://mlflow@db/ru ns", "postgresql://mlflow@db/$(ls)", "postgresql://m@db/a'b",
        "postgresql://mlflow@db/r\u00fcns", "sqlite:///data/mlflow.db",
    )),
    *((names.artifacts, typed, "s3://bucket/folder") for typed in (
        "", "bucket", "s3://", "s3://a", "S3://bucket", "https://bucket", "s3://Bucket",
        "s3://bucket/a b", "s3://bucket/$(ls)", "s3://bucket/a'b", "s3://bucket\n", "file:///tmp",
        "s3://key:secret@bucket", "wasbs://bucket",
    )),
    *((names.endpoint, typed, "https://s3.example.com") for typed in (
        "", "s3.example.com", "ftp://s3.example.com", "https://", "https://user:x@s3.example.com",
        "https://s3.example.com/path", "https://s3.example.com:123456", "https://a b",
        "https://s3.example.com\n",
    )),
    *((names.requirement, typed, "boto3>=1.40") for typed in (
        "", "boto3 1.40", "boto3==", "-r more.txt", "--index-url https://x", "./here", "boto3; x",
        "boto3 @ https://example.com/boto3.whl", "git+https://example.com/boto3", "boto3\nnumpy",
    )),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "typed", "read"), PLACES)
def test_a_place_as_people_write_it_is_taken(
    rule: Callable[[str], str], typed: str, read: str | None
) -> None:
    taken = rule(typed)
    assert taken == (read or typed)
    assert rule(taken) == taken, "what was taken once must be taken again from the record"


@pytest.mark.parametrize(("rule", "typed", "right"), NOT_PLACES)
def test_another_place_is_refused_with_what_would_be_right(
    rule: Callable[[str], str], typed: str, right: str
) -> None:
    with pytest.raises(ValueError, match=r"is not (an?|the) ") as refused:
        rule(typed)
    assert repr(typed) in str(refused.value)
    assert right in str(refused.value)


WITH_A_PASSWORD = [
    "postgresql://mlflow:hunter22@db/runs",
    "postgresql://mlflow:@db/runs",
    "postgresql://mlflow:hunter22@db:port/runs",
    "postgresql://mlflow:hunter22@[db/runs",
    "postgresql://mlflow:hun/ter22@db/runs",
    "postgresql://:hunter22@db/runs",
    "postgres://mlflow:hunter22@db/runs",
    "postgresql://mlflow@db/runs?password=hunter22",
    "postgresql://mlflow@db/runs?sslmode=require&sslpassword=hunter22",
    "postgresql://mlflow@db/runs?PASSWORD=hunter22",
]


@pytest.mark.parametrize("typed", WITH_A_PASSWORD)
def test_a_database_with_its_password_in_the_address_is_refused_without_repeating_it(
    typed: str,
) -> None:
    with pytest.raises(ValueError, match="PGPASSWORD") as refused:
        names.database(typed)
    assert "hunter22" not in str(refused.value)
    assert "ter22" not in str(refused.value)


def test_mlflow_itself_is_no_extra_package() -> None:
    for typed in ("mlflow", "MLflow==3.16.0", "mlflow[genai]"):
        with pytest.raises(ValueError, match="not here"):
            names.requirement(typed)


STORES_IN_A_SHELL_FILE = [names.database, names.artifacts, names.endpoint]


@given(
    st.sampled_from(
        ["", "postgresql://u@h/", "postgresql://u@h/d?", "s3://bucket/", "s3://bu", "https://h"]
    ),
    st.text(max_size=30),
)
def test_whatever_is_typed_a_taken_store_is_one_word_in_a_shell_file(head: str, tail: str) -> None:
    for rule in STORES_IN_A_SHELL_FILE:
        try:
            taken = rule(head + tail)
        except ValueError:
            continue
        assert not re.search(r"[\s'\"`$\\\x00-\x1f\x7f-\U0010ffff]", taken)


@given(st.text(alphabet=st.characters(max_codepoint=0x2FF), max_size=70))
def test_whatever_is_typed_a_taken_host_is_one_word_of_nginx_and_one_folder(typed: str) -> None:
    for head in ("", "a.", "1.2.3."):
        try:
            taken = names.host(head + typed)
        except ValueError:
            continue
        assert re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", taken)
        assert ".." not in taken


@given(st.text(max_size=30))
def test_whatever_is_typed_a_taken_package_is_one_line(typed: str) -> None:
    for head in ("", "boto3", "boto3>="):
        try:
            taken = names.requirement(head + typed)
        except ValueError:
            continue
        assert len(taken.splitlines()) == 1
        assert re.match(r"[A-Za-z0-9]", taken)
