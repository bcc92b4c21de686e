"""A managed database: MLflow gets a role of its own, made once with the cloud's first password.

The cloud changes that password whenever it likes; MLflow's own is known to this machine only, lies
with its data, and stays.
"""

import base64
import importlib
import json
import os
import secrets
import subprocess
from typing import Any

from trackstack.agent import folders
from trackstack.agent.ensure_mlflow import mlflow_answers
from trackstack.agent.ensure_stores import parse
from trackstack.agent.machine import StepError
from trackstack.agent.round import Round
from trackstack.desired import ManagedDatabase

_SECONDS = 60
_PROGRAM = """\
import json, sys, psycopg
from psycopg import sql
told = json.load(sys.stdin)
# Encrypted, but the server's name is not checked: no system knows the authority that either cloud
# signs its databases with, and the address is a private one of this environment's own network.
place = {"host": told["host"], "port": told["port"], "user": told["user"],
         "password": told["password"], "sslmode": "require", "connect_timeout": 5}
role, password = sql.Identifier(told["role"]), sql.Literal(told["own"])
with psycopg.connect(dbname="postgres", autocommit=True, **place) as server:
    there = server.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [told["role"]]).fetchone()
    verb = sql.SQL("ALTER" if there else "CREATE")
    server.execute(sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, role, password))
    # A cloud's administrator is no superuser: it may give away only what it is a member of.
    server.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(role))
    name = sql.Identifier(told["name"])
    if not server.execute(
        "SELECT 1 FROM pg_database WHERE datname = %s", [told["name"]]
    ).fetchone():
        server.execute(sql.SQL("CREATE DATABASE {}").format(name))
    server.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(name, role))
with psycopg.connect(dbname=told["name"], autocommit=True, **place) as database:
    database.execute(sql.SQL("GRANT ALL ON SCHEMA public TO {}").format(role))
"""
"""Reads all from its input: nothing of it is in an argument or a variable."""


def ensure_database(this: Round) -> None:
    """Have MLflow's role in a managed database, and its password beside the data."""
    release = this.wanted_release()
    if release is None or release.database is None:
        return
    known = parse(folders.STORES.read_text()) if folders.STORES.is_file() else {}
    if known.get("PGPASSWORD") and (mlflow_answers(release) or _is_of(known, release.database)):
        return
    # Kept before it holds: a kill in between makes the role again with the same one.
    own = known.get("PGPASSWORD") or secrets.token_urlsafe(24)
    folders.write(folders.STORES, f"PGPASSWORD={own}\n".encode())
    user, password = first_login(release.database)
    told = {
        **release.database.model_dump(exclude={"secret", "admin"}),
        "user": user,
        "password": password,
        "own": own,
    }
    python = folders.PACKAGES / release.packages_id / "bin" / "python"
    done = subprocess.run(
        [str(python), "-P", "-c", _PROGRAM],
        input=json.dumps(told),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no word of why"]
        told_why = lines[-1].replace(password, "***").replace(own, "***")
        raise StepError(f"the database does not take MLflow's role: {told_why}")
    host = release.database.host
    folders.write(folders.STORES, f"PGPASSWORD={own}\nTRACKSTACK_DATABASE={host}\n".encode())


def _is_of(known: dict[str, str], database: ManagedDatabase) -> bool:
    """Whether the role was made in this very database, and not in one that it was restored from."""
    return known.get("TRACKSTACK_DATABASE") == database.host


def first_login(database: ManagedDatabase) -> tuple[str, str]:
    """Name and password of the cloud's first user, read with the machine's own identity.

    Raises:
        StepError: the cloud does not give it.
    """
    try:
        if database.secret.startswith("arn:"):
            return _from_secrets_manager(database)
        return database.admin, _from_secret_manager(database.secret)
    except Exception as error:  # either cloud's own tools raise whatever they meet
        raise StepError(
            f"the database's first password cannot be read: {type(error).__name__}"
        ) from error


def _from_secrets_manager(database: ManagedDatabase) -> tuple[str, str]:
    # By name, so that the agent carries one cloud's tools only.
    client = importlib.import_module("boto3").client(
        "secretsmanager", region_name=database.secret.split(":")[3]
    )
    found = json.loads(client.get_secret_value(SecretId=database.secret)["SecretString"])
    return found["username"], found["password"]


def _from_secret_manager(secret: str) -> str:
    session: Any = importlib.import_module("google.auth.transport.requests").AuthorizedSession(
        importlib.import_module("google.auth").default()[0]
    )
    # As Google's Terraform provider is told of another one.
    base = os.environ.get(
        "GOOGLE_SECRET_MANAGER_CUSTOM_ENDPOINT", "https://secretmanager.googleapis.com/v1"
    )
    answer = session.get(f"{base.rstrip('/')}/{secret}/versions/latest:access", timeout=20)
    answer.raise_for_status()
    return base64.b64decode(answer.json()["payload"]["data"]).decode()
