"""A client that trusts what it was given first, and works on until its input ends.

Says once what it has begun, and at the end how often it was served: by MLflow's client, which keeps
its connection, and over new connections with Python 3.13's strict checks; what failed; and which
certificates it was shown.
"""

import json
import os
import socket
import ssl
import sys
import threading
import time
from urllib.parse import urlsplit

import mlflow

trusted = os.environ["MLFLOW_TRACKING_SERVER_CERT_PATH"]
url = urlsplit(os.environ["MLFLOW_TRACKING_URI"])
strict = ssl.create_default_context(cafile=trusted)
strict.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
client = mlflow.MlflowClient()
kept, new = 0, 0
failed: list[str] = []
shown: set[str] = set()
enough = threading.Event()


def connect_anew() -> None:
    request = f"GET /livez HTTP/1.1\r\nHost: {url.netloc}\r\nConnection: close\r\n\r\n".encode()
    with (
        socket.create_connection((url.hostname, url.port or 443), timeout=10) as bare,
        strict.wrap_socket(bare, server_hostname=url.hostname) as connection,
    ):
        certificate = connection.getpeercert()
        shown.add(str((certificate or {}).get("serialNumber")))
        connection.sendall(request)
        if not connection.recv(100).startswith(b"HTTP/1.1 200"):
            raise ConnectionError("not served")


def work() -> None:
    global kept, new  # noqa: PLW0603
    while not enough.is_set():
        try:
            client.search_experiments(max_results=1)
            kept += 1
            connect_anew()
            new += 1
        except Exception as error:  # whatever it is, a client noticed
            failed.append(repr(error))
        time.sleep(0.05)


connect_anew()
client.search_experiments(max_results=1)
print("begun", flush=True)
thread = threading.Thread(target=work)
thread.start()
sys.stdin.read()
enough.set()
thread.join()
print(json.dumps({"kept": kept, "new": new, "failed": failed, "shown": sorted(shown)}))
