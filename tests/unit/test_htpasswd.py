"""An existing password file: what nginx reads is taken over, the rest is told by its line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackstack import htpasswd
from trackstack.errors import UsageError

BCRYPT = "R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW"


@pytest.mark.parametrize(
    ("hashed", "warning"),
    [
        ("{SSHA}FTtLy4UHGF6CE6rK0obse+lIYuYwMTIzNDU2Nzg5YWJjZGVm", None),
        ("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "unsalted"),
        ("{PLAIN}secret", "the password itself"),
        ("$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/", "MD5"),
        ("$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/", "MD5"),
        ("$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc8", None),
        ("$5$rounds=5000$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc8", None),
        (f"$2y$05${BCRYPT}", None),
        (f"$2y$12${BCRYPT}", "slow"),
        ("rqXexS6ZhobKA", "DES"),
    ],
)
def test_a_kind_of_hash_is_taken_with_its_warning(hashed: str, warning: str | None) -> None:
    (entry,) = htpasswd.parse(f"ada:{hashed}\n")
    assert (entry.user, entry.hash) == ("ada", hashed)
    assert (entry.warning is None) if warning is None else (warning in (entry.warning or ""))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ada", "Line 1 is not of the form name:hash"),
        (
            "# staff\nada:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\nada:rqXexS6ZhobKA",
            "Line 3: 'ada' stands",
        ),
        ("Ada Lovelace:rqXexS6ZhobKA", "Line 1: 'Ada Lovelace' is not a name"),
        ("trackstack.verify:rqXexS6ZhobKA", "the kit's own"),
        ("ada:$9$what", "Line 1: nginx does not read the kind of hash that 'ada' has"),
        ("ada:", "nginx does not read"),
        ("", "The file holds no user"),
        ("# nobody\n\n", "The file holds no user"),
    ],
)
def test_a_wrong_line_is_told_by_its_number(text: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        htpasswd.parse(text)
    assert told in caught.value.sentence


def test_a_refused_hash_is_not_repeated() -> None:
    with pytest.raises(UsageError) as caught:
        htpasswd.parse("ada:MySecretPassword!")
    assert "MySecret" not in f"{caught.value.sentence}{caught.value.hint}"


def test_comments_blank_lines_and_further_fields_are_passed_over() -> None:
    (entry,) = htpasswd.parse("# staff\n\nada:rqXexS6ZhobKA:Ada Lovelace\n")
    assert entry.hash == "rqXexS6ZhobKA"


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_with_a_sentence(text: str) -> None:
    try:
        entries = htpasswd.parse(text)
    except UsageError:
        return
    assert all(":" not in entry.hash and "\n" not in entry.hash for entry in entries)
