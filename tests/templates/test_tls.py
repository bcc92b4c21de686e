"""TLS of its own: the right certificate for each name, modern ciphers only, nothing in clear."""

import ssl
import warnings
from collections.abc import Iterator

import pytest
from cryptography import x509
from exposed import ADA, ADDRESS, NAME, Exposed, running
from front import exchange

NAMES = (NAME, "gpu1")


@pytest.fixture(scope="module")
def server() -> Iterator[Exposed]:
    with running("own", NAMES) as made:
        yield made
        assert not made.errors.read_text()


@pytest.mark.parametrize("name", [*NAMES, ADDRESS])
def test_a_strict_client_is_shown_the_certificate_of_the_name_it_calls(
    server: Exposed, name: str
) -> None:
    request = server.request("/named", host=f"{name}:{server.port}", login=ADA)
    with server.shaking_hands(name) as connection:
        shown = connection.getpeercert(binary_form=True)
        assert shown is not None
        assert exchange(connection, request).status == 200
    certificate = x509.load_der_x509_certificate(shown)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(each.value) for each in names] == [name]


def test_a_client_that_calls_another_name_trusts_nobody(server: Exposed) -> None:
    with pytest.raises(ssl.SSLCertVerificationError), server.shaking_hands("elsewhere.example"):
        pass


def with_version(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")  # so that it is the server who refuses
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_modern_tls_is_spoken(server: Exposed, version: ssl.TLSVersion) -> None:
    with server.shaking_hands(context=with_version(version)) as connection:
        assert connection.version() == version.name.replace("_", ".")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_older_tls_is_not(server: Exposed, version: ssl.TLSVersion) -> None:
    context = with_version(version)
    with pytest.raises(ssl.SSLError) as refused, server.shaking_hands(context=context):
        pass
    assert refused.value.reason == "TLSV1_ALERT_PROTOCOL_VERSION"


CIPHERS = [
    ("ECDHE-ECDSA-AES128-GCM-SHA256", True),
    ("ECDHE-ECDSA-AES256-GCM-SHA384", True),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", True),
    ("ECDHE-ECDSA-AES128-SHA", False),
    ("ECDHE-ECDSA-AES256-SHA384", False),
    ("ECDHE-ECDSA-AES128-CCM8", False),
    ("AES128-GCM-SHA256", False),
    ("ECDHE-ECDSA-NULL-SHA", False),
]


@pytest.mark.parametrize(("cipher", "spoken"), CIPHERS)
def test_only_ciphers_that_hide_and_prove_are_spoken(
    server: Exposed, cipher: str, spoken: bool
) -> None:
    context = with_version(ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(f"{cipher}:@SECLEVEL=0")
    if spoken:
        with server.shaking_hands(context=context) as connection:
            assert connection.cipher() == (cipher, "TLSv1.2", connection.cipher()[2])  # type: ignore[index]
        return
    with pytest.raises(ssl.SSLError) as refused, server.shaking_hands(context=context):
        pass
    assert refused.value.reason == "SSLV3_ALERT_HANDSHAKE_FAILURE"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
@pytest.mark.parametrize("login", [None, ADA], ids=["stranger", "ada"])
def test_in_clear_everybody_is_sent_to_tls_and_nobody_is_asked_for_a_password(
    server: Exposed, method: str, login: bytes | None
) -> None:
    before = len(server.upstream.requests)
    answer = server.in_clear(server.request("/a%20b?c=d", method, login=login))
    assert answer.status == 308
    assert answer.values("Location") == [f"https://{NAME}:{server.port}/a%20b?c=d"]
    assert not answer.values("WWW-Authenticate")
    assert len(server.upstream.requests) == before


@pytest.mark.parametrize(
    "host", ["elsewhere.example", "localhost", "127.0.0.1", "mlflow.example.com.evil.example", "_"]
)
@pytest.mark.parametrize("name", [NAME, ADDRESS])
def test_a_foreign_host_over_tls_is_refused_though_the_login_is_right(
    server: Exposed, name: str, host: str
) -> None:
    before = len(server.upstream.requests)
    answer = server.over_tls(server.request("/foreign", host=host, login=ADA), name)
    assert answer.status == 421
    assert not answer.values("WWW-Authenticate")
    assert len(server.upstream.requests) == before


def test_one_of_its_names_may_be_called_on_a_connection_to_another(server: Exposed) -> None:
    """Browsers share connections; the login is the same for all names."""
    request = server.request("/", host=f"gpu1:{server.port}", login=ADA)
    assert server.over_tls(request, NAME).status in {200, 421}


@pytest.mark.parametrize("login", [None, b"ada:wrong", b"nobody:wrong"])
def test_who_has_no_right_password_is_refused_over_tls(
    server: Exposed, login: bytes | None
) -> None:
    before = len(server.upstream.requests)
    assert server.over_tls(server.request("/", login=login)).status == 401
    assert len(server.upstream.requests) == before


def test_mlflow_hears_of_tls_and_of_the_name_it_knows(server: Exposed) -> None:
    forged = (("X-Forwarded-Proto", "http"), ("X-Forwarded-For", "6.6.6.6"))
    assert server.over_tls(server.request("/heard", login=ADA, headers=forged)).status == 200
    (heard,) = server.upstream.seen("/heard")
    assert heard.values("X-Forwarded-Proto") == ["https"]
    assert heard.values("X-Forwarded-For") == ["127.0.0.4"]
    assert heard.values("Host") == [f"{NAME}:{server.port}"]
    assert heard.values("Authorization") == []


@pytest.mark.parametrize("login", [None, ADA], ids=["refused", "let in"])
def test_headers_keep_pages_from_being_misread_and_tell_no_version(
    server: Exposed, login: bytes | None
) -> None:
    answer = server.over_tls(server.request("/", login=login))
    assert answer.values("X-Content-Type-Options") == ["nosniff"]
    assert answer.values("Server") == ["nginx"]


def test_this_computer_itself_is_served_in_clear(server: Exposed) -> None:
    assert server.ask_as_ada("/here").status == 200


def test_a_client_that_begins_a_handshake_and_stops_holds_up_nobody(server: Exposed) -> None:
    held = [server.reach() for _ in range(20)]
    try:
        for each in held:
            each.sendall(b"\x16\x03\x01\x02\x00")
        assert server.over_tls(server.request("/", login=ADA)).status == 200
    finally:
        for each in held:
            each.close()
