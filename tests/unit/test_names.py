"""Names: what people use is taken, what would break a path or a password file is not."""

import re

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
