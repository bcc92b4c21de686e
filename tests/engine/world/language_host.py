"""Stands in for the host of Python programs that Pulumi's release brings: no registry has it.

The plain CLI starts it as it starts that one, and it runs the project's program as that one does:
with the first `python3` on PATH, in the project's folder. It does so in its own process, with the
server of the SDK's automation API, and looks for no plugins.
usage: language_host.py ENGINE_ADDRESS
"""

import os
import runpy
import signal
import sys
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from pulumi.automation._server import LanguageServer
from pulumi.runtime.proto.language_pb2_grpc import add_LanguageRuntimeServicer_to_server


class Host(LanguageServer):
    """Answers what a preview or an update of the CLI asks."""

    def Run(self, request: Any, context: Any) -> Any:  # noqa: N802  gRPC calls it by this name
        # Where the SDK's server looks for the engine: its own caller says it there.
        request.args[:] = sys.argv[1:2]
        os.chdir(request.pwd)
        self.program = lambda: runpy.run_path(request.info.entry_point, run_name="__main__")
        return super().Run(request, context)


def put_into(folder: Path) -> None:
    """Make it the program that the CLI looks for on PATH."""
    program = folder / "pulumi-language-python"
    program.write_text(f'#!/bin/sh\nexec python3 "{__file__}" "$@"\n')
    program.chmod(0o755)


if __name__ == "__main__":
    server = grpc.server(futures.ThreadPoolExecutor(4))
    add_LanguageRuntimeServicer_to_server(Host(lambda: None), server)
    sys.stdout.write(f"{server.add_insecure_port('127.0.0.1:0')}\n")
    sys.stdout.flush()
    signal.signal(signal.SIGINT, lambda *_: server.stop(None))  # as the engine ends it
    server.start()
    server.wait_for_termination()
