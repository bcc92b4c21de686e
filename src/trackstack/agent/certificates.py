"""Makes a small certificate authority for one name, and its 90-day certificates.

Each name or address has an authority of its own that may vouch for nothing else, so that a
client which trusts it trusts it for that name only, and a further name changes nothing for the
clients of the first. Python's strict checks (3.13's default) accept both.
"""

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_AUTHORITY_LIFE = timedelta(days=3650)
_LEAF_LIFE = timedelta(days=90)
_RENEW_BEFORE = timedelta(days=30)
_CLOCK_TOLERANCE = timedelta(days=1)
_AUTHORITY_CLOCK_TOLERANCE = timedelta(days=365)
"""Far more than a leaf's: a leaf is made again when the clock is set right, an authority, which
clients hold, is not."""
_NO_NAME = "address-only.invalid"
_NO_ADDRESS = ipaddress.IPv4Network("0.0.0.0/32")


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes


def make_authority(name: str, now: datetime) -> Pair:
    """An authority that may vouch for one name or IPv4 address."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, f"trackstack, for {name} only"[:64])]
    )
    # Constraints hold per kind: with one kind left out, all of that kind would be allowed.
    permitted = _general_name(name, network=True)
    other = (
        x509.DNSName(_NO_NAME)
        if isinstance(permitted, x509.IPAddress)
        else x509.IPAddress(_NO_ADDRESS)
    )
    certificate = (
        _builder(
            subject,
            key.public_key(),
            issuer=subject,
            issuer_key=key.public_key(),
            begins=now - _AUTHORITY_CLOCK_TOLERANCE,
            ends=now + _AUTHORITY_LIFE,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.NameConstraints([permitted, other], None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _pair(certificate, key)


def make_leaf(authority: Pair, name: str, now: datetime) -> Pair:
    """A certificate for 90 days for the authority's name."""
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    issuer_key = serialization.load_pem_private_key(authority.key, None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)  # noqa: S101  made above
    key = ec.generate_private_key(ec.SECP256R1())
    # Not the name itself: OpenSSL takes a common name that looks like a DNS name for one, and
    # an address is not among the DNS names its authority may vouch for.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "trackstack server")])
    certificate = (
        _builder(
            subject,
            key.public_key(),
            issuer=issuer.subject,
            issuer_key=issuer_key.public_key(),
            # A client whose clock is behind must not take it for one from the future.
            begins=now - _CLOCK_TOLERANCE,
            ends=now + _LEAF_LIFE,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(name)]), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return _pair(certificate, key)


def is_whole(authority: Pair) -> bool:
    """Whether an authority's certificate can be read and its key is its own."""
    try:
        certificate = x509.load_pem_x509_certificate(authority.certificate)
        key = serialization.load_pem_private_key(authority.key, None)
    except Exception:  # whatever is wrong with it, it vouches for nothing
        return False
    return key.public_key() == certificate.public_key()


def clock_problem(authority: bytes, now: datetime) -> str | None:
    """Why an authority vouches for nothing at this time; it stays, for its clients hold it."""
    certificate = x509.load_pem_x509_certificate(authority)
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if begins <= now < ends:
        return None
    return (
        f"by this machine's clock it is {now:%Y-%m-%d}, and its certificate authority holds from "
        f"{begins:%Y-%m-%d} to {ends:%Y-%m-%d}: one of the two was made with a wrong clock"
    )


def is_good(leaf: Pair, authority: bytes, now: datetime) -> bool:
    """Whether a leaf is the authority's, fits its key, and needs no renewal yet."""
    try:
        certificate = x509.load_pem_x509_certificate(leaf.certificate)
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority))
        key = serialization.load_pem_private_key(leaf.key, None)
    except Exception:  # whatever is wrong with it, a new one is made
        return False
    if key.public_key() != certificate.public_key():
        return False
    begun = certificate.not_valid_before_utc <= now
    return begun and now < certificate.not_valid_after_utc - _RENEW_BEFORE


def _builder(
    subject: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    *,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePublicKey,
    begins: datetime,
    ends: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False
        )
    )


def _general_name(name: str, network: bool = False) -> x509.DNSName | x509.IPAddress:
    try:
        address = ipaddress.IPv4Address(name)
    except ValueError:
        return x509.DNSName(name)
    return x509.IPAddress(ipaddress.IPv4Network(address) if network else address)


def _usage(**used: bool) -> x509.KeyUsage:
    every: dict[str, Any] = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return x509.KeyUsage(**{**every, **used})


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
