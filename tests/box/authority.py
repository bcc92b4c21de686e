"""The authority that the box's image trusts, so that a cloud's own names answer over TLS."""

import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Cloud in a box, for tests only")])


def make(certificate: Path, key: Path) -> None:
    """A new authority, which lasts as long as its image may lie in a cache."""
    private = ec.generate_private_key(ec.SECP256R1())
    signed = (
        _certificate(_NAME, private.public_key(), days=3650)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(private, hashes.SHA256())
    )
    certificate.write_bytes(signed.public_bytes(Encoding.PEM))
    key.touch(mode=0o600)
    key.write_bytes(_pem(private))


def context(key: Path, names: Sequence[str]) -> ssl.SSLContext:
    """What a server needs to answer as these names, to whom trusts the authority.

    Args:
        key: the authority's.
        names: DNS names; `*` stands for one part.
    """
    authority = load_pem_private_key(key.read_bytes(), None)
    assert isinstance(authority, ec.EllipticCurvePrivateKey)
    private = ec.generate_private_key(ec.SECP256R1())
    signed = (
        _certificate(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a cloud")]),
            private.public_key(),
            days=30,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), False
        )
        .sign(authority, hashes.SHA256())
    )
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with TemporaryDirectory() as folder:
        chain = Path(folder, "chain.pem")
        chain.touch(mode=0o600)
        chain.write_bytes(_pem(private) + signed.public_bytes(Encoding.PEM))
        made.load_cert_chain(chain)
    return made


def _certificate(
    subject: x509.Name, public: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    # From a while ago: clocks of machines may be behind.
    start = datetime.now(UTC) - timedelta(days=3)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(_NAME)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(private: ec.EllipticCurvePrivateKey) -> bytes:
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
