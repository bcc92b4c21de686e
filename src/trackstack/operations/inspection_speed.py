"""How an MLflow server serves, seen from outside. `inspection` calls each in turn."""

import re
from collections.abc import Iterator

import httpx

from trackstack.operations.findings import Finding, ok, untried, warning
from trackstack.operations.visit import READ, VERSION, Visit

_UPLOAD_BYTES = (5 << 30, 100 << 20, 2 << 20)
_TIMES = 4
_STRANGER_TIMES = 2
_STALL_MS = (30.0, 90.0)
"""Around the 44 ms that were measured with 3.17.2: head and content go in two packets, and the
second waits for the client's delayed ACK of the first. An answer to HEAD is one packet."""
_SLOW_LOGIN_MS = 30.0
"""Between yescrypt (17 ms of processor time) and bcrypt with 10 rounds (51); apr1 costs 0.1."""
_LARGE_BYTES = 100_000


def uploads(visit: Visit, front: httpx.Response) -> Finding:
    """Whether a large upload would be refused; none is sent."""
    refused: list[int] = []
    for size in _UPLOAD_BYTES:
        status = visit.announced(size)
        if status != httpx.codes.REQUEST_ENTITY_TOO_LARGE:
            break
        refused.append(size)
    if refused:
        return warning(
            "uploads",
            f"It refuses uploads of {refused[-1] >> 20} MB, so larger models and artifacts fail.",
            "In nginx: `client_max_body_size 0; proxy_request_buffering off;`.",
        )
    is_nginx = front.headers.get("server", "").startswith("nginx")
    # nginx holds the announced size against its limit before it asks for a login.
    if status is None or (status == httpx.codes.UNAUTHORIZED and not is_nginx):
        return untried(
            "uploads", "Whether it limits uploads cannot be told without uploading something."
        )
    return ok("uploads", f"An upload of {_UPLOAD_BYTES[0] >> 30} GB is not refused for its size.")


def compression(visit: Visit, page: httpx.Response, enters: bool) -> Finding:
    """Whether the UI comes compressed."""
    script = re.search(r'src="(?:\./)?(static-files/[^"]+\.js)"', page.text)
    if script is None:
        return untried(
            "compression",
            "The pages of MLflow's UI were not seen, so neither was their compression.",
        )
    wanted = {"Accept-Encoding": "gzip"}
    with visit.head_of("GET", f"/{script[1]}", known=enters, headers=wanted) as answer:
        packed = answer.headers.get("content-encoding")
        size = int(answer.headers.get("content-length", 0))
    if packed:
        return ok("compression", f"The UI is sent compressed ({packed}).")
    if size < _LARGE_BYTES:
        return ok("compression", "The UI's script is small.")
    return warning(
        "compression",
        f"The UI's script is sent as {size / 1e6:.1f} MB, uncompressed.",
        "In nginx: `gzip on; gzip_proxied any; gzip_types application/javascript text/css "
        "application/json;`.",
    )


def timing(visit: Visit, is_open: bool, enters: bool) -> Iterator[Finding]:
    """Whether answers wait and passwords are slow to check, by the best of a few tries."""
    if not enters:
        for about, what in (("stall", "how fast it answers"), ("hashes", "how long a login takes")):
            yield untried(about, f"Without a login, {what} is not seen.")
        return
    stranger, status = visit.timed("HEAD", VERSION, _STRANGER_TIMES, known=False)
    # The cheaper the page, the clearer the rest shows; but it must be one that asks for a login.
    page = VERSION if is_open or status == httpx.codes.UNAUTHORIZED else READ
    bare, _ = visit.timed("HEAD", page, _TIMES, known=True)
    whole, _ = visit.timed("GET", page, _TIMES, known=True)
    yield _stall(bare, whole)
    if not is_open:
        yield _hashes(stranger, bare)


def _stall(bare: float, whole: float) -> Finding:
    if _STALL_MS[0] < whole - bare < _STALL_MS[1]:
        return warning(
            "stall",
            f"Each answer waits for the network: {whole:.0f} ms at best, and {bare:.0f} ms "
            "for one without content. MLflow does so with several workers on a TCP port.",
            'Have it listen on a unix socket behind nginx: `--uvicorn-opts "--uds mlflow.sock"`.',
        )
    return ok(
        "stall",
        f"No answer waits: {whole:.0f} ms at best, {bare:.0f} ms for one without content.",
    )


def _hashes(stranger: float, known: float) -> Finding:
    if known - stranger > _SLOW_LOGIN_MS:
        return warning(
            "hashes",
            f"A request with a login takes {known:.0f} ms at best, a refused one "
            f"{stranger:.0f} ms: the password's hash is likely a slow one, checked each time.",
            "Generated passwords do with a fast salted hash; see "
            "`trackstack users import` and `rotate`.",
        )
    return ok(
        "hashes",
        f"The login costs little: {known:.0f} ms with one, {stranger:.0f} ms refused.",
    )
