"""The rules for names, one set for the spec and for the command line.

Each function takes what a person typed and returns the name, or raises ValueError with a
sentence that says what would be right.
"""

import difflib
import hashlib
import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

_ENVIRONMENT = re.compile(r"[a-z]([a-z0-9-]{0,29}[a-z0-9])?")
_USER = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")
_UNSAFE = re.compile(r"[^!-~]|[\"'`$\\]")
"""What may not stand in a value that a shell file holds."""
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")

_WIDEST_NETWORK = 8
"""The prefix of 10.0.0.0/8, the widest of the private networks."""

OWN_PREFIX = "trackstack."
"""Users whose names start so are the kit's own and short-lived; no person may take such a name."""


def environment(value: str) -> str:
    """An environment's name: it becomes part of folder, machine and bucket names."""
    if _ENVIRONMENT.fullmatch(value):
        return value
    raise ValueError(
        f"{value!r} is not a name for an environment: use 1 to 31 of the letters a-z, digits "
        "and '-', starting with a letter and not ending with '-', such as 'team-a'"
    )


def user(value: str) -> str:
    """A user's name: lower case, so that file systems that fold case keep users apart."""
    if value.startswith(OWN_PREFIX):
        raise ValueError(
            f"{value!r} is not a name for a user: names that start with {OWN_PREFIX!r} are the "
            "kit's own"
        )
    if _USER.fullmatch(value):
        return value
    fitting = _fitting_user(value)
    example = f"{fitting!r}" if fitting else "'ada', 'ada.l' or 'ada@example.com'"
    raise ValueError(
        f"{value!r} is not a name for a user: use 1 to 64 of the letters a-z, digits and "
        f"'.', '_', '@', '+', '-', starting with a letter or digit, such as {example}"
    )


def user_from_account(account: str) -> str:
    """The user name nearest to an operating-system account's, for the first user's default."""
    return _fitting_user(account) or "admin"


def _fitting_user(value: str) -> str | None:
    folded = re.sub(r"[^a-z0-9._@+-]", "", value.lower()).lstrip("._@+-")[:64]
    return folded if _USER.fullmatch(folded) and not folded.startswith(OWN_PREFIX) else None


def address(value: str) -> str:
    """An IPv4 address to listen on; of the loopback ones only the usual."""
    try:
        read = ipaddress.IPv4Address(value)
    except ValueError:
        read = None
    if read is None or (read.is_loopback and value != "127.0.0.1") or read.is_multicast:
        raise ValueError(
            f"{value!r} is not an address to listen on: use an IPv4 address of this computer, "
            "such as '127.0.0.1' or '192.168.1.20', or '0.0.0.0' for all of them"
        )
    return str(read)


def host(value: str) -> str:
    """A name or IPv4 address that clients call the server by."""
    folded = value.lower()
    digits_only = folded.replace(".", "").isdigit()
    if _HOST.fullmatch(folded) and not digits_only:
        return folded
    try:
        return str(ipaddress.IPv4Address(value))
    except ValueError:
        raise ValueError(
            f"{value!r} is not a name of a computer: use letters, digits, '-' and '.', such as "
            "'mlflow.example.com', or an IPv4 address"
        ) from None


def network(value: str) -> str:
    """Where proxies stand: an IPv4 network, such as '10.0.0.0/24', or one address."""
    try:
        read = ipaddress.IPv4Network(value)
    except ValueError:
        raise ValueError(
            f"{value!r} is not a network: use an IPv4 address or network such as '10.0.0.0/24'"
        ) from None
    if read.prefixlen < _WIDEST_NETWORK:
        raise ValueError(
            f"{value!r} would take everybody for a proxy, who could then speak to the server "
            "without TLS and under any address: name the network that the proxies stand in, such "
            "as '10.0.0.0/24'"
        )
    return str(read)


def client_network(value: str) -> str:
    """Who may connect: an IPv4 or IPv6 network, or one address."""
    try:
        return str(ipaddress.ip_network(value))
    except ValueError as error:
        near = ""
        if "has host bits set" in str(error):
            near = f", such as '{ipaddress.ip_network(value, strict=False)}'"
        raise ValueError(
            f"{value!r} is not a network: write an address or a network as in "
            f"'198.51.100.7/32'{near}"
        ) from None


def pem_file(value: str) -> str:
    """The path of a certificate or key, as nginx can be told it."""
    if value.startswith("/") and not re.search(r'["$\\\x00-\x1f\x7f]', value):
        return value
    raise ValueError(
        f"{value!r} is not a path that nginx can be told: write it from the root on, such as "
        "'/etc/ssl/mlflow.pem', without quotes, '$' and '\\'"
    )


def database(value: str) -> str:
    """Where a PostgreSQL database is; its password is given apart."""
    try:
        parts = urlsplit(value)
        whole = parts.scheme == "postgresql" and parts.hostname and parts.username
        named = parts.path.strip("/") and parts.port != 0
    except ValueError:
        whole, named = None, None
    # By sight as well: what cannot be read must not be shown either when a password is in it.
    if re.search(r"//[^/@:]*:[^@]*@", value) or re.search(r"[?&][a-z]*pass", value.lower()):
        raise ValueError(
            "an address with a password in it ends in the shell's history and the process list: "
            "leave the password out and give it as PGPASSWORD, or in ~/.pgpass"
        )
    if not (whole and named) or _UNSAFE.search(value):
        raise ValueError(
            f"{value!r} is not the address of a PostgreSQL database: write it as "
            "'postgresql://user@host:5432/name', with special characters percent-encoded"
        )
    return value


def artifacts(value: str) -> str:
    """A bucket for artifacts, with or without a folder in it."""
    if re.fullmatch(r"(s3|gs)://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/[A-Za-z0-9._/=+-]*)?", value):
        return value
    raise ValueError(
        f"{value!r} is not a bucket: write it as 's3://bucket/folder' or 'gs://bucket'"
    )


def artifacts_or_folder(value: str) -> str:
    """A bucket for artifacts, or a folder of this computer, that a container gets to see."""
    if value.startswith("/") and not re.search(r"[\x00-\x1f\x7f]", value):
        return value
    try:
        return artifacts(value)
    except ValueError:
        raise ValueError(
            f"{value!r} is neither a bucket nor a folder: write it as 's3://bucket/folder', as "
            "'gs://bucket', or from the root on, such as '/srv/artifacts'"
        ) from None


def image(value: str) -> str:
    """The name of a container image, with its registry, tag or digest when it has one.

    https://github.com/distribution/reference
    """
    part = r"[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*"
    registry = r"([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]+)?/)?"
    ending = r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?"
    if re.fullmatch(rf"{registry}{part}(/{part})*{ending}", value):
        return value
    raise ValueError(
        f"{value!r} is not the name of an image: write it as 'debian:trixie-slim' or "
        "'registry.example.com/team/debian:13'"
    )


def endpoint(value: str) -> str:
    """Where a bucket's API is, for others than the clouds' own."""
    if re.fullmatch(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?/?", value):
        return value
    raise ValueError(f"{value!r} is not an endpoint: write it as 'https://s3.example.com'")


def requirement(value: str) -> str:
    """A package for the server, with or without versions, from the package index."""
    # Here, because every start of the command reads this module.
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415
    from packaging.utils import canonicalize_name  # noqa: PLC0415

    try:
        read = Requirement(value)
    except InvalidRequirement:
        read = None
    if read is None or read.url:
        raise ValueError(
            f"{value!r} is not a package: write it as in a requirements file, such as "
            "'mlflow-export-import' or 'boto3>=1.40'"
        )
    if canonicalize_name(read.name) == "mlflow":
        raise ValueError(f"{value!r}: MLflow's version is asked for with mlflow, not here")
    return str(read)


def fitted(value: str, longest: int) -> str:
    """A name as clouds take it: cut when too long, '-' never twice in a row.

    What had to be changed ends with a hash of the whole, so that two never become one.
    """
    folded = re.sub("-{2,}", "-", value)
    if folded == value and len(value) <= longest:
        return value
    mark = hashlib.sha256(value.encode()).hexdigest()[:8]
    return f"{folded[: longest - 9].rstrip('-')}-{mark}"


def nearest(value: str, known: Iterable[str]) -> str | None:
    """The known name that a person most likely meant, or None when none is near."""
    close = difflib.get_close_matches(value, list(known), n=1)
    return close[0] if close else None
