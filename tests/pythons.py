"""A Python for uv to fetch, as it does where a model wants another one than the computer has.

uv has them from GitHub. No package registry has these archives, but a Go module has what is in
them: https://github.com/kluctl/go-embed-python, made from https://github.com/astral-sh/python-build-standalone.
"""

import gzip
import hashlib
import http.server
import io
import json
import os
import platform
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.world.serving import Server, serving
from kits import made_once

VERSION = "3.14.6"
VARIABLE = "UV_PYTHON_DOWNLOADS_JSON_URL"
_MODULE = f"github.com/kluctl/go-embed-python@v0.0.0-{VERSION}-20260610-1"
_GO_NAMES = {"x86_64": "amd64", "aarch64": "arm64"}


@contextmanager
def offered(address: str) -> Iterator[str]:
    """Offer a Python to whoever reaches an address of this computer; the URL of uv's list."""
    archive = made_once(f"python-{VERSION}-{platform.machine()}.tar.gz", _make_archive)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked_for_list = self.path == "/pythons.json"
            host = self.headers["Host"]
            told = {"one": _told(f"http://{host}/{archive.name}", digest)}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(told).encode() if asked_for_list else archive.read_bytes())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with serving(Server((address, 0), Handler)) as port:
        yield f"http://{address}:{port}/pythons.json"


def _told(url: str, digest: str) -> dict[str, object]:
    """As in uv's own list: crates/uv-python/download-metadata.json."""
    major, minor, patch = map(int, VERSION.split("."))
    return {
        "name": "cpython",
        "arch": {"family": platform.machine(), "variant": None},
        "os": "linux",
        "libc": "gnu",
        "major": major,
        "minor": minor,
        "patch": patch,
        "prerelease": "",
        "url": url,
        "sha256": digest,
        "variant": None,
        "build": "20260610",
    }


def _make_archive(to: Path) -> None:
    go = shutil.which("go")
    if go is None:
        pytest.skip("a Python to be fetched comes with a Go module: Go is not installed")
    done = subprocess.run(
        [go, "mod", "download", "-json", _MODULE],
        cwd=to.parent,
        env={**os.environ, "GOMODCACHE": str(to.with_name("go")), "GOFLAGS": "-modcacherw"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{_MODULE} cannot be had:\n{done.stdout}{done.stderr}"
    embedded = Path(json.loads(done.stdout)["Dir"], "python", "internal", "data")
    _pack(embedded / f"linux-{_GO_NAMES[platform.machine()]}", to)


def _pack(embedded: Path, to: Path) -> None:
    """Put the embedded files, each of which may be compressed, into an archive as uv expects it."""
    files = json.loads((embedded / "files.json").read_text())["files"]
    with tarfile.open(to, "w:gz", compresslevel=1) as archive:
        for file in files:
            entry = tarfile.TarInfo(f"python/{file['name']}")
            entry.mode = stat.S_IMODE(file["perm"])
            place = embedded / file["name"]
            if "symlink" in file:
                entry.type, entry.linkname = tarfile.SYMTYPE, file["symlink"]
                archive.addfile(entry)
            elif place.is_dir():
                entry.type = tarfile.DIRTYPE
                archive.addfile(entry)
            elif file.get("compressed"):
                content = gzip.decompress(place.with_name(f"{place.name}.gz").read_bytes())
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
            else:
                content = place.read_bytes()
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
