"""The certificates of an environment's own, tried with OpenSSL's strict checks in a handshake."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trackstack.agent.certificates import Pair, is_good, make_authority, make_leaf

NOW = datetime.now(UTC)


def shake_hands(folder: Path, leaf: Pair, authorities: bytes, name: str) -> str | None:
    """Let a client that trusts the authorities, strictly, meet a server; returns why it refuses."""
    chain, key = folder / "leaf.pem", folder / "leaf.key"
    chain.write_bytes(leaf.certificate)
    key.write_bytes(leaf.key)
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(chain, key)
    trusting = ssl.create_default_context(cadata=authorities.decode())
    # What Python 3.13 checks by default.
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server, server_hostname=name)
    server = serving.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as error:
                return str(error)
    return None


@pytest.mark.parametrize("name", ["10.78.0.5", "mlflow.example.com", "gpu1", "a" * 63 + ".example"])
def test_a_strict_client_accepts_the_name_it_called(tmp_path: Path, name: str) -> None:
    authority = make_authority(name, NOW)
    refusal = shake_hands(tmp_path, make_leaf(authority, name, NOW), authority.certificate, name)
    assert refusal is None


@pytest.mark.parametrize(
    ("own", "other"),
    [
        ("10.78.0.5", "10.78.0.6"),
        ("10.78.0.5", "mlflow.example.com"),
        ("mlflow.example.com", "10.78.0.5"),
        ("mlflow.example.com", "bank.example.org"),
        ("mlflow.example.com", "example.com"),
    ],
)
def test_an_authority_cannot_vouch_for_another_name(tmp_path: Path, own: str, other: str) -> None:
    authority = make_authority(own, NOW)
    stolen = make_leaf(authority, other, NOW)
    refusal = shake_hands(tmp_path, stolen, authority.certificate, other)
    assert refusal is not None
    assert "permitted subtree violation" in refusal


def test_a_further_name_changes_nothing_for_the_clients_of_the_first(tmp_path: Path) -> None:
    first, second = (make_authority(name, NOW) for name in ("10.78.0.5", "mlflow.example.com"))
    renewed = make_leaf(first, "10.78.0.5", NOW)
    assert shake_hands(tmp_path, renewed, first.certificate, "10.78.0.5") is None
    both = first.certificate + second.certificate
    leaf = make_leaf(second, "mlflow.example.com", NOW)
    assert shake_hands(tmp_path, leaf, both, "mlflow.example.com") is None


@pytest.mark.parametrize(
    ("days", "good"), [(0, True), (59, True), (61, False), (89, False), (120, False), (-2, False)]
)
def test_a_certificate_of_90_days_is_renewed_30_days_before_its_end(days: int, good: bool) -> None:
    authority = make_authority("gpu1", NOW)
    leaf = make_leaf(authority, "gpu1", NOW)
    assert is_good(leaf, authority.certificate, NOW + timedelta(days=days)) is good


def test_a_leaf_of_another_authority_is_renewed() -> None:
    leaf = make_leaf(make_authority("gpu1", NOW), "gpu1", NOW)
    assert not is_good(leaf, make_authority("gpu1", NOW).certificate, NOW)


def test_a_leaf_with_the_key_of_another_is_renewed() -> None:
    authority = make_authority("gpu1", NOW)
    one, other = (make_leaf(authority, "gpu1", NOW) for _ in range(2))
    assert not is_good(Pair(one.certificate, other.key), authority.certificate, NOW)


@pytest.mark.parametrize("damage", [b"", b"garbage"])
def test_a_damaged_leaf_is_renewed(damage: bytes) -> None:
    authority = make_authority("gpu1", NOW)
    assert not is_good(Pair(damage, damage), authority.certificate, NOW)
