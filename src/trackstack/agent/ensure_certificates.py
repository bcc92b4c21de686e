"""TLS without a domain: each name has an authority of its own and a certificate that renews.

Or with one: what stands in the given files is shown, also after somebody has renewed them.
"""

import hashlib
import re
import ssl
from datetime import timedelta
from pathlib import Path

from trackstack.agent import folders
from trackstack.agent.certificates import (
    Pair,
    clock_problem,
    is_good,
    is_whole,
    make_authority,
    make_leaf,
)
from trackstack.agent.machine import StepError
from trackstack.agent.round import Round
from trackstack.control.base import ConflictError
from trackstack.desired import AUTHORITIES_KEY, Release
from trackstack.durable import write_durably

_GIVEN = re.compile(r'^\s*ssl_certificate(?:_key)? "(/[^"]+)";', re.MULTILINE)
"""Where nginx's settings name a file from the root on; the machine's own are relative."""
_LOOK_AGAIN = timedelta(hours=1)
"""How long what clients get may be damaged by hand: each look costs a request."""


def ensure_certificates(this: Round) -> None:
    """Have a certificate for every name of the release, and nginx show the newest.

    Keys are made once and stay; the authorities' certificates go to the control store, where
    clients get them.
    """
    release = this.wanted_release()
    if release is None:
        return
    authorities = [_ensure_name(this, name) for name in release.certificates]
    if folders.UNSHOWN_CERTIFICATE.exists():
        if this.machine.running("nginx"):
            this.machine.reload("nginx")
        folders.UNSHOWN_CERTIFICATE.unlink()
    _show_given(this, release)
    _publish(this, b"".join(authorities))


def _ensure_name(this: Round, name: str) -> bytes:
    folder = folders.TLS / name
    certificate, key = folder / "ca.pem", folder / "ca.key"
    authority = Pair(_content(certificate), _content(key))
    if not is_whole(authority):
        # A kill between the two leaves a pair that is not whole, and the next round makes another.
        authority = make_authority(name, this.now)
        folders.write(certificate, authority.certificate)
        write_durably(key, authority.key)
    problem = clock_problem(authority.certificate, this.now)
    if problem:
        raise StepError(f"the certificate of {name} is left as it is: {problem}")
    leaf, leaf_key = folder / "leaf.pem", folder / "leaf.key"
    shown = Pair(_content(leaf), _content(leaf_key))
    if not is_good(shown, authority.certificate, this.now):
        renewed = make_leaf(authority, name, this.now)
        write_durably(folders.UNSHOWN_CERTIFICATE, b"")
        folders.write(leaf_key, renewed.key)
        folders.write(leaf, renewed.certificate)
    return authority.certificate


def _show_given(this: Round, release: Release) -> None:
    """Have nginx read the given files again when they are not those it was told of last."""
    settings = next(file.content for file in release.files if file.path == "nginx/nginx.conf")
    given = [Path(name) for name in dict.fromkeys(_GIVEN.findall(settings))]
    if not given:
        return
    now = hashlib.sha256(b"".join(file.read_bytes() for file in given)).hexdigest().encode()
    if _content(folders.SHOWN_FILES) == now:
        return
    certificate, key = given
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        # Somebody may be writing them: nginx goes on with what it has, and the next round looks.
        raise StepError(f"{certificate} and {key} do not belong together") from error
    if this.machine.running("nginx"):
        this.machine.reload("nginx")
    write_durably(folders.SHOWN_FILES, now)


def _content(file: Path) -> bytes:
    return file.read_bytes() if file.is_file() else b""


def _publish(this: Round, authorities: bytes) -> None:
    held, at = this.published.get(AUTHORITIES_KEY, (None, this.now))
    if held == authorities and abs(this.now - at) < _LOOK_AGAIN:
        return
    stored = this.store.get(AUTHORITIES_KEY)
    if (stored.data if stored else b"") != authorities:
        try:
            this.store.put(AUTHORITIES_KEY, authorities, expect=stored.tag if stored else None)
        except ConflictError:
            return  # written by somebody else: the next round looks again
    this.published[AUTHORITIES_KEY] = (authorities, this.now)
