"""Passwords: long, never the same, and known to the server by a salted hash only."""

import base64
import hashlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackstack import credentials


def test_no_two_passwords_are_the_same() -> None:
    assert len({credentials.new_password() for _ in range(2000)}) == 2000


def test_a_password_holds_128_bits_or_more() -> None:
    made = [credentials.new_password() for _ in range(2000)]
    alphabet = {letter for password in made for letter in password}
    assert min(map(len, made)) * math.log2(len(alphabet)) >= 128


def test_a_password_needs_no_quotes_and_mixes_up_no_letters() -> None:
    letters = {letter for _ in range(2000) for letter in credentials.new_password()}
    assert "".join(sorted(letters)).isalnum()
    assert not letters & set("0O1lI")


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_hash_is_matched_by_its_password_only(password: str, other: str) -> None:
    hashed = credentials.hash_password(password)
    assert credentials.matches(password, hashed)
    assert credentials.matches(other, hashed) == (other == password)


@given(st.text(min_size=1, max_size=40))
def test_a_hash_fits_a_line_of_a_password_file(password: str) -> None:
    hashed = credentials.hash_password(password)
    assert hashed.isascii()
    assert hashed.isprintable()
    assert not set(hashed) & set(": \t")


def test_the_hash_is_the_one_nginx_computes() -> None:
    """nginx: {SSHA} is base64 of SHA-1 over password and salt, followed by the salt."""
    hashed = credentials.hash_password("secret")
    raw = base64.b64decode(hashed.removeprefix("{SSHA}"))
    assert hashlib.sha1(b"secret" + raw[20:]).digest() == raw[:20]  # noqa: S324


def test_one_password_has_another_hash_each_time() -> None:
    assert credentials.hash_password("same") != credentials.hash_password("same")


@pytest.mark.parametrize("hashed", ["", "{PLAIN}secret", "secret"])
def test_nothing_matches_what_is_not_the_kits_hash(hashed: str) -> None:
    assert not credentials.matches("secret", hashed)
