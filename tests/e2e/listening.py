"""A server that other computers reach: how it is deployed, and how it looks to them."""

import http.client
import socket
import ssl
import subprocess
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path

from alone import Alone
from cryptography import x509
from namespaces import ADDRESS, NAME, NEAR, PROXIED, PROXY, SECOND, Namespaces, command_in
from servers import OWNER

OWN = {"hostnames": [NAME]}
TWO = {"hostnames": [NAME, SECOND]}


@dataclass(frozen=True)
class Listening(Alone):
    """A server in a namespace of its own, and clients in another.

    Attributes:
        state: how it was deployed last, and with which variables.
    """

    namespaces: Namespaces
    state: list[tuple[dict[str, object], dict[str, str]]] = field(default_factory=list)

    @property
    def command(self) -> list[str]:
        return [*command_in(self.namespaces.server), *super().command]

    def _client_command(self, *command: str | Path) -> list[str]:
        return [*command_in(self.namespaces.clients), *super()._client_command(*command)]

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, **(self.state[-1][1] if self.state else {})}

    def be(self, server: dict[str, object], **variables: str) -> None:
        """Deploy with these keys of a spec's server, unless that is what it is."""
        if self.state and self.state[-1] == (server, variables):
            return
        keys = {"listen": ADDRESS, "port": self.port, "workers": 1, **server}
        spec = self.account / "spec.yaml"
        spec.parent.mkdir(exist_ok=True)
        lines = [f"  {key}: {value!r}" for key, value in keys.items()]
        spec.write_text("\n".join([f"users: [{OWNER}]", "server:", *lines, ""]))
        self.state.append((server, variables))
        try:
            self.run("deploy", "local", "-f", spec)
        except BaseException:
            # Whoever comes next tries anew.
            self.state.append(({}, variables))
            raise

    def next_round(self) -> None:
        """Have the agent look at everything now, as it does twice a minute."""
        self.run("users", "add", "newcomer", "--show-passwords")
        self.run("users", "remove", "newcomer")

    def context(self) -> ssl.SSLContext:
        """A client as strict as Python 3.13's, with what `env` says."""
        return strict(self.folder() / "ca.pem")

    def ask(
        self,
        path: str = "/version",
        *,
        context: ssl.SSLContext | None,
        host: str,
        to: tuple[str, int] | None = None,
        source: str = NEAR,
        login: tuple[str, str] | None = None,
        **headers: str,
    ) -> http.client.HTTPResponse:
        """One request of a client, with TLS when there is a context for it."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if login:
            given["Authorization"] = f"Basic {b64encode(':'.join(login).encode()).decode()}"

        def work() -> http.client.HTTPResponse:
            place = to or (ADDRESS, self.port)
            with socket.create_connection(place, timeout=30, source_address=(source, 0)) as bare:
                name = host.partition(":")[0]
                wrapped = context.wrap_socket(bare, server_hostname=name) if context else bare
                connection = http.client.HTTPConnection(*place)
                connection.sock = wrapped
                connection.request("GET", path, headers={"Host": host, **given})
                answer = connection.getresponse()
                answer.read()
                wrapped.close()
                return answer

        return self.namespaces.as_client(work)

    def shown(self, context: ssl.SSLContext, name: str) -> x509.Certificate:
        """The certificate that a client accepts."""

        def work() -> bytes:
            with (
                socket.create_connection((ADDRESS, self.port), timeout=30) as bare,
                context.wrap_socket(bare, server_hostname=name) as connection,
            ):
                return connection.getpeercert(binary_form=True) or b""

        return x509.load_der_x509_certificate(self.namespaces.as_client(work))

    def start_loyal_client(self, folder: Path) -> "subprocess.Popen[str]":
        """Start the client that goes on with what it was given first."""
        folder.mkdir()
        given = self.run("env").stdout
        first = folder / "first-ca.pem"
        first.write_bytes((self.folder() / "ca.pem").read_bytes())
        given = given.replace(str(self.folder() / "ca.pem"), str(first))
        command = ["bash", "-c", 'eval "$1"; exec python "$2"', "bash", given]
        return subprocess.Popen(
            [
                *command_in(self.namespaces.clients),
                *command,
                Path(__file__).parent / "loyal_client.py",
            ],
            env=self._client_environment(folder),
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def strict(authorities: Path) -> ssl.SSLContext:
    """A client that trusts a file, with the checks that are Python 3.13's default."""
    context = ssl.create_default_context(cafile=authorities)
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


PROXY_SETTINGS = """\
user root;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/errors.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 0;
    server {{
        listen {proxy}:443 ssl;
        server_name {name};
        ssl_certificate {folder}/front.pem;
        ssl_certificate_key {folder}/front.key;
        location / {{
            proxy_pass http://{server};
            proxy_request_buffering off;
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
}}
"""
"""A proxy as its manual has it, which adds the client's address to what the client says."""


def proxy_settings(folder: Path, port: int) -> str:
    """The settings of a proxy before the server, with its files in a folder."""
    return PROXY_SETTINGS.format(
        folder=folder, proxy=PROXY, name=PROXIED, server=f"{ADDRESS}:{port}"
    )
