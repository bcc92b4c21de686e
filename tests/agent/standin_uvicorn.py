"""Stands in for MLflow's server where only its start and its end matter.

It starts in a tenth of a second and ends at once, whatever it is at. It listens where MLflow
would, refuses a Host it does not know, and says with how many workers it was started.
"""

import os
import re
import signal
import socketserver
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

HOSTS = os.environ.get("MLFLOW_SERVER_ALLOWED_HOSTS", "").split(",")
SLOW_SECONDS = 2
ARGUMENTS = " ".join(sys.argv)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/slow":
            Path("tmp/slow-request").touch()
            time.sleep(SLOW_SECONDS)
        status = 200 if self.headers["Host"] in HOSTS else 403
        workers = re.search(r"--workers (\d+)", ARGUMENTS)
        body = f"workers {workers[1] if workers else 'not told'}\n".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Quiet."""


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


def main() -> None:
    path = Path(re.findall(r"--uds (\S+)", ARGUMENTS)[0])
    workers = re.search(r"--workers (\d+)", ARGUMENTS)
    if workers and int(workers[1]) > 1:
        # MLflow's workers too outlive a master that is killed.
        subprocess.Popen(["sleep", "86400"])
    signal.signal(signal.SIGTERM, lambda *_: (path.unlink(missing_ok=True), os._exit(0)))
    Server(str(path), Handler).serve_forever(poll_interval=60)


main()
