"""Before anything is changed: an address that is not here, a certificate that cannot be shown."""

import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from cryptography.hazmat.primitives import serialization

from trackstack.agent.certificates import Pair, make_authority, make_leaf
from trackstack.errors import TrackstackError, UsageError
from trackstack.targets import computer
from trackstack.targets.local import Local
from unit.making import plan

HERE = "192.168.1.20"
NOW = datetime.now(UTC)


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Local]:
    """This computer as it should be, with one address for others; every port is free."""
    address = SimpleNamespace(family=socket.AF_INET, address=HERE)
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: {"eth0": [address]})
    monkeypatch.setattr(computer, "nginx_problem", lambda *_: None)
    monkeypatch.setattr(computer, "nginx_settings", lambda _: "")
    monkeypatch.setattr(computer, "room_problem", lambda *_: None)
    monkeypatch.setattr(computer, "port_is_free", lambda *_: True)
    yield Local(tmp_path / "environment", tmp_path / "cache")
    assert not (tmp_path / "environment").exists()


@pytest.mark.parametrize("listen", ["127.0.0.1", "0.0.0.0", HERE])
def test_an_address_of_this_computer_may_be_listened_on(target: Local, listen: str) -> None:
    target.check(plan(listen=listen, hostnames=["gpu1"]), None)


def test_an_address_of_another_computer_is_told_with_those_there_are(target: Local) -> None:
    with pytest.raises(UsageError, match=r"10\.9\.9\.9 is not an address of this") as refused:
        target.check(plan(listen="10.9.9.9"), None)
    assert HERE in refused.value.sentence
    assert "hostnames" in (refused.value.hint or "")


def test_a_taken_port_is_told_with_a_free_one(
    target: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []

    def free(address: str, port: int) -> bool:
        asked.append((address, port))
        return port == 8082

    monkeypatch.setattr(computer, "port_is_free", free)
    with pytest.raises(TrackstackError, match="Port 8080") as refused:
        target.check(plan(listen=HERE), None)
    assert "--port 8082" in (refused.value.hint or "")
    assert {address for address, _ in asked} == {HERE}


def written(folder: Path, pair: Pair) -> dict[str, str]:
    certificate, key = folder / "my certificate.pem", folder / "my key.pem"
    certificate.write_bytes(pair.certificate)
    key.write_bytes(pair.key)
    return {"certificate": str(certificate), "key": str(key)}


def check(target: Local, files: dict[str, str]) -> None:
    target.check(plan(listen=HERE, hostnames=["gpu1"], tls="files", **files), None)


@pytest.fixture
def pair() -> Pair:
    return make_leaf(make_authority("gpu1", NOW), "gpu1", NOW)


def test_a_certificate_with_its_key_may_be_shown(target: Local, tmp_path: Path, pair: Pair) -> None:
    check(target, written(tmp_path, pair))


def encrypted(pair: Pair) -> bytes:
    key = serialization.load_pem_private_key(pair.key, None)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )


UNFIT = "do not belong together"
CASES = [
    ("no certificate", "No such file"),
    ("no key", "No such file"),
    ("damaged", UNFIT),
    ("another's key", UNFIT),
    ("encrypted", UNFIT),
    ("a folder", "Is a directory"),
]


@pytest.mark.parametrize(("case", "why"), CASES)
def test_a_certificate_that_cannot_be_shown_is_told(
    target: Local, tmp_path: Path, pair: Pair, case: str, why: str
) -> None:
    files = written(tmp_path, pair)
    certificate, key = Path(files["certificate"]), Path(files["key"])
    if case == "no certificate":
        certificate.unlink()
    elif case == "no key":
        key.unlink()
    elif case == "damaged":
        certificate.write_bytes(pair.certificate[:300])
    elif case == "another's key":
        key.write_bytes(make_authority("gpu1", NOW).key)
    elif case == "encrypted":
        key.write_bytes(encrypted(pair))
    else:
        files["key"] = str(tmp_path)
    with pytest.raises(UsageError, match="are not a certificate and its key") as refused:
        check(target, files)
    assert files["certificate"] in refused.value.sentence
    assert why in refused.value.sentence
