"""Passwords and the hashes the server keeps of them.

A password is a random token, never chosen, so a salted SHA-1 cannot be searched for: nginx
checks the hash on every request, and a slow hash would cost 0.2 s of processor time each
(bcrypt with 12 rounds) where this one costs 0.02 ms.
"""

import base64
import hashlib
import hmac
import secrets

_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_LENGTH = 24
_SALT_BYTES = 16
_SCHEME = "{SSHA}"


def new_password() -> str:
    """A fresh password: 24 of 57 characters that none mistakes for another, 139 bits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))


def hash_password(password: str) -> str:
    """The salted hash of a password, as nginx's auth_basic_user_file takes it."""
    return _hash(password, secrets.token_bytes(_SALT_BYTES))


def can_match(hashed: str) -> bool:
    """Whether a hash is of the one kind that `matches` reads; imported ones may be of others."""
    return hashed.startswith(_SCHEME)


def matches(password: str, hashed: str) -> bool:
    """Whether a password is the one behind a hash that hash_password made."""
    if not can_match(hashed):
        return False
    salt = base64.b64decode(hashed.removeprefix(_SCHEME))[hashlib.sha1().digest_size :]  # noqa: S324
    return hmac.compare_digest(_hash(password, salt), hashed)


def _hash(password: str, salt: bytes) -> str:
    digest = hashlib.sha1(password.encode() + salt).digest()  # noqa: S324  see the module's text
    return _SCHEME + base64.b64encode(digest + salt).decode()
