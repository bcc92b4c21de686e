"""A server that others reach: with TLS of its own, with somebody's files, behind a proxy."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alone import a_server
from cryptography import x509
from listening import OWN, TWO, Listening, proxy_settings, strict
from namespaces import (
    ADDRESS,
    FAR,
    NAME,
    NEAR,
    PROXIED,
    PROXY,
    SECOND,
    command_in,
    two_namespaces,
)
from servers import OWNER

from kits import eventually
from trackstack.agent.certificates import Pair, make_authority, make_leaf

NOW = datetime.now(UTC)
OLD = timedelta(days=70)
GUESSES = 30


@dataclass(frozen=True)
class Changes:
    """What a client saw that holds the first authority, through a renewal and a further name.

    Attributes:
        told: by the client at its end.
        before: the leaf that was about to end.
        renewed: the one that took its place.
    """

    told: dict[str, list[str]]
    counts: tuple[int, int]
    before: x509.Certificate
    renewed: x509.Certificate


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Listening, Changes]]:
    """The server with its second name, and how it came to that."""
    with (
        two_namespaces() as namespaces,
        a_server(tmp_path_factory.mktemp("listen"), Listening, namespaces) as made,
    ):
        assert isinstance(made, Listening)
        made.be(OWN)
        yield made, _change(made)


@pytest.fixture(scope="module")
def server(begun: tuple[Listening, Changes]) -> Listening:
    return begun[0]


@pytest.fixture
def own(server: Listening) -> Listening:
    """With TLS of its own."""
    server.be(TWO)
    return server


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with somebody's authority, and certificates of it for the name and the proxy's."""
    folder = tmp_path_factory.mktemp("site")
    for file, name in (("site", NAME), ("front", PROXIED)):
        authority = make_authority(name, NOW - OLD)
        _write_pair(folder, f"{file}-ca", authority)
        _write_pair(folder, file, make_leaf(authority, name, NOW - OLD))
    both = [(folder / f"{file}-ca.pem").read_bytes() for file in ("site", "front")]
    (folder / "trusted.pem").write_bytes(b"".join(both))
    return folder


@pytest.fixture
def with_files(server: Listening, site: Path) -> Listening:
    """With a certificate of somebody's own, which this computer trusts."""
    files = {"certificate": str(site / "site.pem"), "key": str(site / "site.key")}
    server.be({**TWO, "tls": "files", **files}, SSL_CERT_FILE=str(site / "trusted.pem"))
    return server


@pytest.fixture(scope="module")
def proxy(server: Listening, site: Path) -> Iterator[None]:
    """Another nginx before the server, on another computer."""
    settings = site / "proxy.conf"
    settings.write_text(proxy_settings(site, server.port))
    running = subprocess.Popen(
        [
            *command_in(server.namespaces.clients),
            "nginx",
            "-p",
            site,
            "-c",
            settings,
            "-e",
            "stderr",
        ]
    )
    yield
    running.terminate()
    running.wait(30)


@pytest.fixture
def upstream(server: Listening, site: Path, proxy: None) -> Listening:  # noqa: ARG001
    """Behind the proxy, whose word counts."""
    server.be(
        {"hostnames": [PROXIED], "tls": "upstream", "trusted_proxies": [f"{PROXY}/32"]},
        SSL_CERT_FILE=str(site / "trusted.pem"),
    )
    return server


@pytest.mark.parametrize("called", [NAME, SECOND, ADDRESS])
def test_the_client_reaches_it_by_each_of_its_names_with_what_env_says(
    own: Listening, tmp_path: Path, called: str
) -> None:
    program = "import mlflow; print(mlflow.get_experiment('0').name)"
    there = f"https://{called}:{own.port}"
    done = own.client(
        *("env", f"MLFLOW_TRACKING_URI={there}", "python", "-c", program), folder=tmp_path
    )
    assert done.stdout.split() == ["Default"]


def test_env_names_the_first_of_its_names_and_a_run_goes_there_and_back(
    own: Listening, tmp_path: Path
) -> None:
    printed = own.json("env")
    assert isinstance(printed, dict)
    assert printed["MLFLOW_TRACKING_URI"] == f"https://{NAME}:{own.port}"
    told = own.round_trip(tmp_path / "client", megabytes=1)
    assert (told["user"], told["received"]) == (OWNER, told["sent"])


@pytest.mark.parametrize("called", [NAME, SECOND, ADDRESS])
def test_a_client_with_the_strict_checks_of_python_3_13_is_served(
    own: Listening, called: str
) -> None:
    login = (OWNER, own.owner_password())
    answer = own.ask(context=own.context(), host=f"{called}:{own.port}", login=login)
    assert answer.status == 200


def test_plain_http_is_sent_on_to_tls(own: Listening) -> None:
    answer = own.ask("/a?b=c", context=None, host=f"{NAME}:{own.port}")
    assert answer.status == 308
    assert answer.headers["Location"] == f"https://{NAME}:{own.port}/a?b=c"


def test_verify_proves_it_from_its_own_computer(own: Listening) -> None:
    receipt = own.json("verify", "--quick")
    assert isinstance(receipt, dict)
    assert receipt["url"] == f"https://{NAME}:{own.port}"
    assert all(check["held"] for check in receipt["checks"])


def test_an_invitation_and_a_password_are_all_a_newcomer_needs(
    own: Listening, tmp_path: Path
) -> None:
    password = own.let_in("bob", "--invite", str(tmp_path / "invitation.md"))
    invitation = (tmp_path / "invitation.md").read_text()
    (authorities,) = re.findall(r"```\n(-----BEGIN.*?)```", invitation, re.DOTALL)
    (file,) = set(re.findall(r"`(trackstack-[a-z-]+\.pem)`", invitation))
    (lines,) = re.findall(r"## In a shell.*?```\n(.*?)```", invitation, re.DOTALL)
    (trial,) = re.findall(r"## To see that it works\n\n```\n(.*?)```", invitation, re.DOTALL)
    home = tmp_path / "bob"
    home.mkdir()
    (home / file).write_text(authorities)
    done = subprocess.run(
        [*command_in(own.namespaces.clients), "bash", "-euc", lines + trial],
        env={"HOME": str(home), "PATH": f"{own.packages() / 'bin'}:/usr/bin:/bin"},
        cwd=home,
        input=f"{password}\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "name='Default'" in done.stdout
    assert password not in invitation


def test_a_certificate_near_its_end_is_replaced_while_the_server_runs(
    begun: tuple[Listening, Changes],
) -> None:
    _, changes = begun
    assert changes.before.not_valid_after_utc < NOW + timedelta(days=21)
    assert changes.renewed.not_valid_after_utc > NOW + timedelta(days=89)
    both = {f"{each.serial_number:X}" for each in (changes.before, changes.renewed)}
    assert both <= {serial.lstrip("0") for serial in changes.told["shown"]}


def test_no_client_notices_a_renewal_or_a_further_name(begun: tuple[Listening, Changes]) -> None:
    _, changes = begun
    assert changes.told["failed"] == []
    # A few would not have met the moments that matter.
    assert min(changes.counts) > 50, f"served {changes.counts} times"


def test_somebodys_certificate_is_shown_and_no_other_authority_is_told(
    with_files: Listening, site: Path
) -> None:
    certificate = with_files.shown(strict(site / "site-ca.pem"), NAME)
    given = x509.load_pem_x509_certificate((site / "site.pem").read_bytes())
    assert certificate.issuer == given.issuer
    printed = with_files.json("env")
    assert isinstance(printed, dict)
    assert "MLFLOW_TRACKING_SERVER_CERT_PATH" not in printed


def test_renewed_files_are_shown_after_the_agents_next_look(
    with_files: Listening, site: Path
) -> None:
    context = strict(site / "site-ca.pem")
    before = with_files.shown(context, NAME)
    renewed = make_leaf(_read_pair(site, "site-ca"), NAME, datetime.now(UTC))
    _write_pair(site, "site", renewed)
    assert with_files.shown(context, NAME) == before
    with_files.next_round()
    wanted = x509.load_pem_x509_certificate(renewed.certificate)
    assert wanted != before
    assert eventually(lambda: with_files.shown(context, NAME) == wanted)


def test_behind_a_proxy_the_log_has_the_clients_address_whatever_the_client_says(
    upstream: Listening, site: Path
) -> None:
    password = upstream.owner_password()
    answer = upstream.ask(
        "/version?behind",
        context=strict(site / "front-ca.pem"),
        host=PROXIED,
        to=(PROXY, 443),
        source=FAR,
        login=(OWNER, password),
        X_Forwarded_For="10.78.9.9",
    )
    assert answer.status == 200

    def logged() -> list[str]:
        return upstream.run("logs", "nginx").stdout.splitlines()

    # nginx writes it after the answer.
    assert eventually(lambda: any(f'"{FAR}"' in line for line in logged())), "it is not logged"
    log = logged()
    entries = [json.loads(line) for line in log if f'"{FAR}"' in line]
    assert [(each["user"], each["path"], each["status"]) for each in entries] == [
        (OWNER, "/version", 200)
    ]
    assert not [line for line in log if "10.78.9.9" in line]


def test_behind_a_proxy_guesses_are_counted_by_the_clients_address(
    upstream: Listening, site: Path
) -> None:
    context = strict(site / "front-ca.pem")

    def guess(source: str) -> int:
        login = ("guesser", "wrong")
        return upstream.ask(
            context=context, host=PROXIED, to=(PROXY, 443), source=source, login=login
        ).status

    assert {401, 429} == {guess(NEAR) for _ in range(GUESSES)}
    assert guess(FAR) == 401


def test_nobody_passes_by_the_proxy(upstream: Listening, site: Path) -> None:
    login, context = (OWNER, upstream.owner_password()), strict(site / "front-ca.pem")
    past = upstream.ask(context=None, host=PROXIED, login=login)
    through = upstream.ask(context=context, host=PROXIED, to=(PROXY, 443), login=login)
    assert (past.status, through.status) == (401, 200)


def test_the_client_works_through_the_proxy(
    upstream: Listening, site: Path, tmp_path: Path
) -> None:
    """With the variable that MLflow has for the authority of such a proxy."""
    program = "import mlflow; print(mlflow.get_experiment('0').name)"
    trusting = f"MLFLOW_TRACKING_SERVER_CERT_PATH={site / 'front-ca.pem'}"
    done = upstream.client("env", trusting, "python", "-c", program, folder=tmp_path)
    assert done.stdout.split() == ["Default"]


def _change(server: Listening) -> Changes:
    """Let a leaf come near its end, then add a name, before the eyes of a client."""
    tls = server.data / "tls" / NAME
    old = make_leaf(_read_pair(tls, "ca"), NAME, datetime.now(UTC) - OLD)
    ending = x509.load_pem_x509_certificate(old.certificate)
    agent = server.agent()
    # It would be renewed at once; after 70 days without a look it would stand there like this.
    agent.suspend()
    try:
        _write_pair(tls, "leaf", old)
        os.kill(int((server.machine() / "run" / "nginx.pid").read_text()), signal.SIGHUP)
        assert eventually(lambda: server.shown(server.context(), NAME) == ending)
        client = server.start_loyal_client(server.account / "loyal")
        assert client.stdout is not None
        assert client.stdout.readline() == "begun\n", client.communicate()[1]
    finally:
        agent.resume()
    server.next_round()
    assert eventually(lambda: server.shown(server.context(), NAME) != ending)
    server.be(TWO)
    told, errors = client.communicate(timeout=60)
    assert client.returncode == 0, errors
    seen = json.loads(told)
    return Changes(
        told=seen,
        counts=(seen["kept"], seen["new"]),
        before=ending,
        renewed=server.shown(server.context(), NAME),
    )


def _write_pair(folder: Path, name: str, pair: Pair) -> None:
    (folder / f"{name}.pem").write_bytes(pair.certificate)
    (folder / f"{name}.key").write_bytes(pair.key)


def _read_pair(folder: Path, name: str) -> Pair:
    return Pair((folder / f"{name}.pem").read_bytes(), (folder / f"{name}.key").read_bytes())
